"""Whether a run is running, finished, failed or interrupted."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from roots.errors import CheckpointError
from roots.runs.lock import holder
from roots.runs.redaction import redact, write_record
from roots.runs.run import Run

STATE_FILE = "state.json"
STATES = ("running", "finished", "failed", "interrupted")


@dataclass(frozen=True)
class RunState:
    """What a run says of itself.

    Args:
        state: One of STATES.
        step: Optimizer steps done when its last fit began or ended.
        max_steps: Optimizer steps that it was to have; 0 where that is not known.
        started: When its first fit began, in seconds since 1970; 0 where that is not known.
        since: When its last fit began.
        seconds: Wall time of all its fits until `since`, or until the last one ended.
        why: What ended it, where that was not the last step; one line.
    """

    state: str
    step: int = 0
    max_steps: int = 0
    started: float = 0.0
    since: float = 0.0
    seconds: float = 0.0
    why: str = ""


def begin(run: Run, *, step: int, max_steps: int, now: Callable[[], float] = time.time) -> None:
    """Writes down that a fit begins; what a killed one took counts until its last report."""
    at = now()
    before = _before(run)
    spent = 0.0
    if before is not None:
        spent = before.seconds
        spent += _until_last_report(run, before.since) if before.state == "running" else 0.0
    started = before.started if before is not None else at
    _write(run, RunState("running", step, max_steps, started, at, spent))


def end(
    run: Run, state: str, *, step: int, why: str = "", now: Callable[[], float] = time.time
) -> None:
    """Writes down how a fit ended."""
    at = now()
    before = _before(run) or RunState("running", started=at, since=at)
    seconds = before.seconds + max(at - before.since, 0.0)
    line = " ".join(redact(why).split())
    _write(run, replace(before, state=state, step=step, seconds=seconds, why=line))


def recorded(run: Run) -> RunState | None:
    """Reads what the run's last fit wrote of itself; None when it wrote nothing.

    Raises:
        CheckpointError: The file is damaged.
    """
    file = run.path / STATE_FILE
    try:
        told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return _checked(RunState(**told))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{file} is damaged ({error}). Remove it: the run is then judged by its checkpoints."
        ) from error


def state_of(run: Run) -> RunState:
    """Tells the state of a run, whatever it wrote: running is what a living process holds.

    A run whose process is gone without a word was interrupted. One of an older version, which wrote
    nothing, is finished when it has a checkpoint of its last step.

    Raises:
        CheckpointError: Its records are damaged.
    """
    told = recorded(run)
    if by := holder(run.path):
        return replace(told or RunState(""), state="running", why=by)
    if told is None:
        return _of_an_older_version(run)
    if told.state == "running":
        spent = told.seconds + _until_last_report(run, told.since)
        why = "its process ended without a word"
        return replace(told, state="interrupted", seconds=spent, why=why)
    return told


def _checked(state: RunState) -> RunState:
    if state.state not in STATES:
        raise ValueError(f"state {state.state!r}")
    for name in ("step", "max_steps", "started", "since", "seconds"):
        value = getattr(state, name)
        if type(value) not in (int, float) or not math.isfinite(value):
            raise ValueError(f"{name} {value!r}")
    if not isinstance(state.why, str):
        raise TypeError(f"why {state.why!r}")
    return state


def _before(run: Run) -> RunState | None:
    """Reads the record that is about to be written anew; a damaged one is none."""
    try:
        return recorded(run)
    except CheckpointError:
        return None


def _of_an_older_version(run: Run) -> RunState:
    config = run.config() if run.config_file.is_file() else {}
    told = (config.get("trainer") or {}).get("max_steps")
    max_steps = told if isinstance(told, int) else 0
    steps = [checkpoint.step for checkpoint in run.checkpoints()]
    step = max(steps, default=0)
    is_done = 0 < max_steps <= step
    files = [run.path / "environment.json", run.config_file]
    started = min((f.stat().st_mtime for f in files if f.is_file()), default=0.0)
    return RunState("finished" if is_done else "interrupted", step, max_steps, started, started)


def _until_last_report(run: Run, since: float) -> float:
    try:
        return max(run.metrics_file.stat().st_mtime - since, 0.0)
    except OSError:
        return 0.0


def _write(run: Run, state: RunState) -> None:
    write_record(Path(run.path) / STATE_FILE, asdict(state))
