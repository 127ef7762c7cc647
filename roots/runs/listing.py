"""The runs of a folder, and what each has come to."""

from __future__ import annotations

import fnmatch
import glob
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from roots.errors import CheckpointError, ConfigError, DataError, nearest
from roots.runs.lock import LOCK_FILE, holder
from roots.runs.metrics import load_metrics
from roots.runs.run import Run
from roots.runs.state import STATE_FILE, STATES, RunState, state_of

MARKS = ("config.yaml", "environment.json", "metrics.csv", STATE_FILE, LOCK_FILE)
"""A run's directory holds two of these, or one and has a number for its name."""
DEPTH = 5
"""Folders below the given one in which runs are looked for: sweeps/NAME/ID/trials/TRIAL/0001."""


@dataclass(frozen=True)
class RunSummary:
    """A line of the list of runs.

    Args:
        path: The directory.
        name: The run's name: that of the folder above.
        id: The directory's own name.
        state: running, finished, failed or interrupted.
        why: Who trains it, or what ended it.
        step: Optimizer steps done, as far as was reported.
        max_steps: Optimizer steps that it was to have; 0 where that is not known.
        metric: What tells the best checkpoint.
        mode: Whether the best has the `min` or the `max` of it.
        best: Its best value; None when it was never measured.
        best_step: Where that was.
        age_seconds: Since its first fit began.
        size_bytes: Of all its files.
        trouble: What of its files cannot be read; the other columns are then as far as they can be.
    """

    path: Path
    name: str
    id: str
    state: str
    why: str = ""
    step: int = 0
    max_steps: int = 0
    metric: str = ""
    mode: str = "min"
    best: float | None = None
    best_step: int = 0
    age_seconds: float = 0.0
    size_bytes: int = 0
    trouble: str = ""

    def plain(self) -> dict[str, Any]:
        """Gives the line as plain values."""
        return {**asdict(self), "path": str(self.path)}


_ORDERS: dict[str, Callable[[RunSummary], Any]] = {
    "name": lambda run: (run.name, run.id),
    "state": lambda run: (STATES.index(run.state), run.name, run.id),
    "step": lambda run: -run.step,
    "best": lambda run: (run.best is None, run.metric, _lower_is_better(run)),
    "age": lambda run: run.age_seconds,
    "size": lambda run: -run.size_bytes,
}
ORDERS = tuple(_ORDERS)


def list_runs(
    folder: Path | str = "runs",
    *,
    name: str = "",
    state: str = "",
    sort: str = "name",
    now: Callable[[], float] = time.time,
    skipped: list[Path] | None = None,
) -> list[RunSummary]:
    """Lists the runs below a folder.

    Args:
        folder: The folder of all runs, of the runs of one name, or a run's directory.
        name: Only runs whose name fits this pattern, such as `llama*`.
        state: Only runs in this state; several are separated by commas.
        sort: `name`, `state` (running first), `step` (furthest first), `best` (best first, by
            metric), `age` (newest first) or `size` (largest first).
        now: The clock, in seconds since 1970.
        skipped: Takes the folders that may not be read.

    Raises:
        CheckpointError: There is no such folder.
        ConfigError: There is no such state or order.
    """
    wanted = [part.strip() for part in state.split(",") if part.strip()]
    for given, known in [*((w, STATES) for w in wanted), (sort, ORDERS)]:
        if given not in known:
            raise ConfigError(
                f"{given!r} is none of {', '.join(known)}{nearest(given, known)}. Use one of them."
            )
    root = Path(folder)
    if not root.is_dir():
        raise CheckpointError(
            f"There is no folder {root}. Give the folder of your runs (trainer.runs_dir), or train"
            " one first: roots fit --config configs/run/quickstart.yaml."
        )
    skipped = [] if skipped is None else skipped
    found = [run for run in run_folders(root, skipped) if fnmatch.fnmatch(_name(run), name or "*")]
    lines = [summary(Run(path), now=now) for path in found]
    kept = [line for line in lines if not wanted or line.state in wanted]
    return sorted(kept, key=_ORDERS[sort])


def run_folders(root: Path, skipped: list[Path], depth: int = DEPTH) -> Iterator[Path]:
    """Finds the directories of runs at or below a folder, in the order of their names.

    Args:
        root: The folder.
        skipped: Takes the folders that may not be read.
        depth: How far below it they may lie.
    """
    try:
        is_run = _is_run(root)
        inside = [] if is_run or depth == 0 else sorted(root.iterdir(), key=_by_number)
        folders = [f for f in inside if f.is_dir() and not f.name.startswith(".")]
    except PermissionError:
        skipped.append(root)
        return
    if is_run:
        yield root
    for folder in folders:
        yield from run_folders(folder, skipped, depth - 1)


def find_runs(given: Iterable[str | Path]) -> list[Run]:
    """Opens the runs that are named.

    Args:
        given: Directories of runs, folders of several, names of runs in `runs`, or patterns such as
            `runs/a*/000?`.

    Returns:
        Each once, in the order in which they were named.

    Raises:
        CheckpointError: A name fits no run, or a folder may not be read.
    """
    found: dict[Path, Run] = {}
    for name in given:
        skipped: list[Path] = []
        runs = [path for folder in _named(name) for path in run_folders(folder, skipped)]
        if skipped:
            raise CheckpointError(
                f"You may not read {skipped[0]}, where runs may be. Ask for the right to read it,"
                " or name the runs beside it."
            )
        if not runs:
            raise CheckpointError(_not_found(Path(name)))
        found |= {path.resolve(): Run(path) for path in runs if path.resolve() not in found}
    return list(found.values())


def _named(name: str | Path) -> list[Path]:
    """Gives the folders that a path, a run's name or a pattern means."""
    for path in (Path(name), Path("runs") / name):
        if path.is_dir():
            return [path]
    return [Path(path) for path in sorted(glob.glob(str(name))) if Path(path).is_dir()]  # noqa: PTH207


def summary(run: Run, *, now: Callable[[], float] = time.time) -> RunSummary:
    """Sums up a run; what cannot be read is told in the line's `trouble`."""
    troubles: list[str] = []
    state = _try(lambda: state_of(run), _unreadable(run), troubles)
    metric, mode = _try(lambda: _monitor(run), ("", "min"), troubles)
    metrics = _try(lambda: load_metrics(run.metrics_file), None, troubles)
    best = metrics.best(metric, mode) if metrics is not None else None
    return RunSummary(
        path=run.path,
        name=_name(run.path),
        id=run.path.resolve().name,
        state=state.state,
        why=state.why,
        step=max(state.step, metrics.last_step if metrics is not None else 0),
        max_steps=state.max_steps,
        metric=metric,
        mode=mode,
        best=best[1] if best else None,
        best_step=best[0] if best else 0,
        age_seconds=max(now() - state.started, 0.0) if state.started else 0.0,
        size_bytes=_size(run.path),
        trouble=" ".join(troubles),
    )


def _try(read: Callable[[], Any], otherwise: Any, troubles: list[str]) -> Any:
    try:
        return read()
    except (CheckpointError, DataError) as error:
        if str(error) not in troubles:
            troubles.append(str(error))
        return otherwise


def _unreadable(run: Run) -> RunState:
    by = holder(run.path)
    return RunState("running" if by else "interrupted", why=by)


def _monitor(run: Run) -> tuple[str, str]:
    run.config()  # which raises where it is missing; a run without one has no name for its best
    return run.monitor


def _is_run(folder: Path) -> bool:
    marks = sum((folder / mark).is_file() for mark in MARKS)
    return marks >= (1 if folder.resolve().name.isdecimal() else 2)


def _name(run: Path) -> str:
    return run.resolve().parent.name


def _by_number(folder: Path) -> tuple[int, str]:
    return (int(folder.name) if folder.name.isdecimal() else 0, folder.name)


def _lower_is_better(run: RunSummary) -> float:
    value = run.best or 0.0
    return value if run.mode == "min" else -value


def _size(folder: Path) -> int:
    total = 0
    for where, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(f"{where}/{name}").st_size
            except OSError:  # a checkpoint that was renamed or removed meanwhile
                continue
    return total


def _not_found(path: Path) -> str:
    above = path.parent if path.parent.is_dir() else Path("runs")
    there = [str(run) for run in run_folders(above, [])] if above.is_dir() else []
    what = "holds no run" if path.exists() else "is no run, and no pattern that fits one"
    hint = nearest(str(path), there) or (f" (there are {', '.join(there[:5])})" if there else "")
    return (
        f"{path} {what}{hint}. Give runs' own directories, a folder of them such as"
        " runs/quickstart, or a pattern; `roots list` tells which there are."
    )
