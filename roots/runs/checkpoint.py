"""A checkpoint's folder: what is in it, and whether it still is what was written."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roots.errors import CheckpointError

CHECKPOINT_FILE = "checkpoint.json"
TRAINER_FILE = "trainer.ckpt"


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint folder.

    Args:
        path: The folder.
        step: Optimizer steps completed.
        metrics: The newest validation metrics when it was written; may be empty. What was not
            finite is NaN.
        files: The sha256 of each file, by its path within; empty in folders of older versions.
        data: What the data module noted of what was read until then; may be empty.
        tokens: Tokens trained on until then; None in folders of older versions.
        early_stop: Why the run ended with it before its last step; empty where it did not.
    """

    path: Path
    step: int
    metrics: dict[str, float]
    files: dict[str, str] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    tokens: int | None = None
    early_stop: dict[str, Any] = field(default_factory=dict)

    @property
    def trainer_file(self) -> Path:
        """The file to resume from."""
        return self.path / TRAINER_FILE

    def damage(self, *names: str) -> str:
        """Reads files and says which are not as they were written; nothing when all are.

        Of folders of older versions, without sums, it says nothing.

        Args:
            names: The files, by their paths within, or folders of them; none takes all.
        """
        within = tuple(f"{name}/" for name in names)
        wanted = {
            n: s for n, s in self.files.items() if not names or n in names or n.startswith(within)
        }
        here = file_sums(self.path, [n for n in wanted if (self.path / n).is_file()])
        gone = [f"{name} is missing" for name in wanted if name not in here]
        other = [f"{n} has another sha256" for n, s in wanted.items() if here.get(n, s) != s]
        return ", ".join(gone + other)


def rank(value: float | None, mode: str) -> float:
    """Says where a metric stands among others, the smaller the better; last what is no number.

    Args:
        value: The metric; None or NaN where nothing could be measured.
        mode: Whether the best has the `min` or the `max` of it.
    """
    if value is None or not math.isfinite(value):
        return math.inf
    return value if mode == "min" else -value


def read_checkpoint(folder: Path) -> Checkpoint:
    """Reads the record of a checkpoint's folder.

    Raises:
        CheckpointError: There is none, or it is damaged.
    """
    try:
        text = (folder / CHECKPOINT_FILE).read_text(encoding="utf-8")
        record: dict[str, Any] = json.loads(text)
        metrics = {n: math.nan if v is None else v for n, v in record["metrics"].items()}
        files, data = record.get("files", {}), record.get("data", {})
        tokens, early_stop = record.get("tokens"), record.get("early_stop", {})
        return Checkpoint(folder, record["step"], metrics, files, data, tokens, early_stop)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{folder / CHECKPOINT_FILE} is damaged ({error!r}). Move {folder} away; the run's"
            " other checkpoints are not touched by it."
        ) from error


def written_files(folder: Path) -> list[str]:
    """Lists the files of a checkpoint by their paths in its folder, without CHECKPOINT_FILE."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(name for f in files if (name := _name(f, folder)) != CHECKPOINT_FILE)


def file_sums(folder: Path, names: Sequence[str], *, to_disk: bool = False) -> dict[str, str]:
    """Gives the sha256 of files in a checkpoint's folder.

    Args:
        folder: The folder.
        names: The files, by their paths within.
        to_disk: Wait until each file is on the disk, and not only on its way.
    """
    with ThreadPoolExecutor(4) as pool:
        sums = pool.map(lambda name: _file_sum(folder / name, to_disk=to_disk), names)
        return dict(zip(names, sums, strict=True))


def _name(file: Path, folder: Path) -> str:
    return file.relative_to(folder).as_posix()


def _file_sum(path: Path, *, to_disk: bool) -> str:
    with path.open("rb") as file:
        if to_disk:
            os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()
