"""The record of one trial: what it tries, how it is doing, and what came out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roots.runs import Run, RunLock

FINISHED, PRUNED, FAILED, RUNNING = "finished", "pruned", "failed", "running"
WORKERS = "workers"
"""In a sweep's directory: a folder for each process that ran trials there."""


@dataclass
class Trial:
    """One trial, as the study has it.

    Args:
        number: From 0, in the order of their starts.
        state: `finished`, `pruned`, `failed` or `running`.
        values: The value of each parameter.
        value: Its result; None where it has none.
        curve: What the metric was at a step, or after each fit.
        notes: What was written down of it: where it ran, how long.
    """

    number: int
    state: str
    values: dict[str, Any]
    value: float | None = None
    curve: dict[int, float] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """How people call it."""
        return f"trial {self.number + 1}"


def own(folder: Path, owner: str) -> RunLock:
    """Shows other processes that the trials of this one are in hands; gives the lock that does.

    Args:
        folder: The sweep's directory.
        owner: The name of this process among those of the sweep.
    """
    mine = folder / WORKERS / owner
    mine.mkdir(parents=True, exist_ok=True)
    lock = RunLock(mine)
    lock.acquire()
    return lock


def run_of(trial: Trial, key: str, folder: Path) -> Run | None:
    """Finds the run of one of a trial's fits; None where this machine does not have it.

    What the trial notes is a path on the machine that ran it. That path may be another sweep's
    here, so a run counts only in the directory whose process, the trial's owner, left its mark.

    Args:
        trial: The trial.
        key: Which fit.
        folder: The sweep's directory here.
    """
    noted = Path(trial.notes["runs"][key])
    owner = str(trial.notes.get("owner", ""))
    for home in (folder, noted.parents[2]):
        run = Run(home / "trials" / noted.parent.name / noted.name)
        if owner and (home / WORKERS / owner).is_dir() and run.config_file.is_file():
            return run
    return None
