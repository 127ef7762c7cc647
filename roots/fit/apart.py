"""A fit in processes of its own: what a notebook does over several devices."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from roots.callbacks.notebook import LINES_KEPT, Place, in_notebook
from roots.callbacks.stop_signals import Interrupted
from roots.errors import ConfigError, TrainingError
from roots.fit.unchanged import differences
from roots.runs import Run
from roots.strategies.launching import is_interactive
from roots.strategies.sharded_files import read_file, read_whole

REFUSED, STOPPED = 2, 130
"""Exit codes of `roots fit` (see `roots fit --help`)."""


def needs_processes(trainer: Any) -> bool:
    """Tells whether a fit has several ranks, and this process could not start the others."""
    return is_interactive() and trainer.world_size > 1


def fit_apart(composed: Any) -> Run:
    """Trains by `roots fit`, whose ranks are processes of a command; gives the run.

    What it says is shown here as it comes. Ctrl-C, or a notebook's stop button, is handed on. The
    module then has the weights of the last checkpoint.

    Args:
        composed: The run.

    Raises:
        Interrupted: It was asked to stop.
        ConfigError: It was refused, was trained already, or has what the processes cannot have.
        TrainingError: It went wrong.
    """
    trainer = composed.trainer
    trainer.check_new()
    refuse_changes(composed)
    goes_on = [f"--resume={trainer.run.path}"] if composed.checkpoint else []
    folder = Path(trainer.runs_dir) / trainer.name
    before = set(_runs(folder))
    with tempfile.TemporaryDirectory(prefix="roots-fit-") as place:
        file = Path(place) / "run.yaml"
        file.write_text(yaml.safe_dump(composed.config, allow_unicode=True), encoding="utf-8")
        command = [sys.executable, "-m", "roots", "fit", f"--config={file}", *goes_on]
        code, said = _followed(command)
    made = sorted(set(_runs(folder)) - before)
    run = trainer.run if goes_on else Run(made[-1]) if made else None
    if run is not None:
        trainer.run, trainer.has_begun = run, True
        if run.checkpoints():
            _take_weights(composed, run)
    if code or run is None:
        _raise(code, said)
    assert run is not None
    return run


def settings_of(composed: Any) -> dict[str, Any]:
    """Takes down what a run was put together with, to see later what Python has changed in it."""
    trainer = composed.trainer
    there = {name: getattr(trainer, name, None) for name in trainer.arguments}
    simple = {name: value for name, value in there.items() if isinstance(value, (int, float, str))}
    return {
        "model": composed.model.settings,
        "data": composed.data.spec,
        "trainer": simple,
        "callbacks": list(trainer.callbacks),
    }


def refuse_changes(composed: Any) -> None:
    """Refuses what processes of their own do not learn: they have the configuration alone.

    Raises:
        ConfigError: Something was changed in Python since, or a class is of the notebook itself.
    """
    devices = f"{composed.trainer.world_size} devices are trained on in processes of their own"
    if own := re.search(r"__main__\.\w+", json.dumps(composed.config)):
        raise ConfigError(
            f"{devices}, which cannot import {own[0]}: it is defined here. Define it in a file"
            " beside the notebook and import it from there, or set trainer.devices to 1."
        )
    was, now = dict(composed.as_made), settings_of(composed)
    theirs, ours = was.pop("callbacks"), now.pop("callbacks")
    changes = differences(was, now)
    changes += [
        f"{type(c).__name__} was added to trainer.callbacks" for c in ours if c not in theirs
    ]
    changes += [
        f"{type(c).__name__} was taken from trainer.callbacks" for c in theirs if c not in ours
    ]
    if changes:
        raise ConfigError(
            f"{devices}, which learn nothing of what was changed in Python: {'; '.join(changes)}."
            " Say it to roots.compose or roots.resume, as {'model.micro_batch_size': 1} or"
            " {'trainer.callbacks': [MyCallback()]}, or set trainer.devices to 1."
        )


def _take_weights(composed: Any, run: Run) -> None:
    """Builds the module's network here, with the weights of the last checkpoint."""
    module = composed.model
    file = run.last().trainer_file  # a folder where each process wrote its part of it
    checkpoint = read_whole(file) if file.is_dir() else read_file(file)
    module.learn_of(composed.data)
    module.on_load_checkpoint(checkpoint)
    module.load_state_dict(checkpoint["state_dict"], strict=module.strict_loading)
    module.eval()


def _runs(folder: Path) -> Iterator[Path]:
    return (path for path in folder.glob("*") if path.name.isdecimal())


def _followed(command: list[str]) -> tuple[int, str]:
    """Runs a command and shows what it says; gives its exit code and its last words."""
    last: deque[str] = deque(maxlen=LINES_KEPT)
    place = Place() if in_notebook() else None
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # a stop comes to this process, which hands it on once
    )
    assert process.stdout is not None
    with process, _handing_on(process):
        for line in process.stdout:
            last.append(line.rstrip())
            if place is None:
                sys.stdout.write(line)
            else:
                place.show({"text/plain": "\n".join(last)})
    begins = [n for n, line in enumerate(last) if line.startswith("roots: ")]
    return process.wait(), " ".join(list(last)[begins[-1] if begins else 0 :]).strip()


@contextmanager
def _handing_on(process: subprocess.Popen[str]) -> Iterator[None]:
    """Sends SIGINT to a process instead of being interrupted by it; a thread cannot."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: process.send_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if process.poll() is None:
            process.terminate()


def _raise(code: int, said: str) -> None:
    words = said.removeprefix("roots: ")
    if code == STOPPED:
        raise Interrupted(words)
    raise ConfigError(words) if code == REFUSED else TrainingError(words)
