"""Sends to W&B what a run kept offline."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from roots.errors import CheckpointError
from roots.runs.run import open_run

TO_WANDB = (sys.executable, "-m", "wandb", "sync", "--yes")


def _call(command: Sequence[str]) -> int:
    return subprocess.run(command, check=False).returncode


def offline_folders(path: Path | str) -> list[Path]:
    """Lists what W&B kept offline for a run, oldest first: one folder for each of its fits.

    Raises:
        CheckpointError: There is no run at `path`, or W&B kept nothing of it.
    """
    run = open_run(path)
    found = sorted((run.path / "wandb").glob("offline-run-*"))
    kept = [folder for folder in found if any(folder.glob("*.wandb"))]
    if not kept:
        tracked = (run.config().get("trainer") or {}).get("wandb", False)
        why = "was tracked online, or its files were removed" if tracked else "was not tracked"
        raise CheckpointError(
            f"{run.path} has no offline W&B files (wandb/offline-run-*): it {why}. A run keeps"
            " them when it is trained with --trainer.wandb true and no key, or WANDB_MODE=offline."
        )
    return kept


def sync(path: Path | str, *, call: Callable[[Sequence[str]], int] = _call) -> int:
    """Sends a run by W&B's own command, all its fits to one W&B run; gives that one's exit code.

    What was sent before is left out by W&B.

    Args:
        path: The run's directory.
        call: Runs a command.

    Raises:
        CheckpointError: There is nothing to send.
    """
    return call([*TO_WANDB, *map(str, offline_folders(path))])
