"""A fit in processes of its own: what a notebook does over several devices."""

from __future__ import annotations

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
from roots.runs import Run
from roots.strategies.launching import is_interactive

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
        ConfigError: It was refused.
        TrainingError: It went wrong.
    """
    trainer = composed.trainer
    if composed.checkpoint is not None:
        raise ConfigError(
            "A notebook does not go on with a run over several devices. Use the command line:"
            f" roots fit --resume {trainer.run.path}"
        )
    folder = Path(trainer.runs_dir) / trainer.name
    before = set(_runs(folder))
    with tempfile.TemporaryDirectory(prefix="roots-fit-") as place:
        file = Path(place) / "run.yaml"
        file.write_text(yaml.safe_dump(composed.config, allow_unicode=True), encoding="utf-8")
        code, said = _followed([sys.executable, "-m", "roots", "fit", f"--config={file}"])
    made = sorted(set(_runs(folder)) - before)
    if made:
        trainer.run = Run(made[-1])
        if trainer.run.checkpoints():
            _take_weights(composed, trainer.run)
    if code or not made:
        _raise(code, said)
    return Run(made[-1])


def _take_weights(composed: Any, run: Run) -> None:
    """Builds the module's network here, with the weights of the last checkpoint."""
    module = composed.model
    checkpoint = composed.trainer.strategy.load_checkpoint(run.last().trainer_file)
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
