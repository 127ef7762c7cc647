"""Writers of checkpoints that wait until they are told to go on, or that find the disk full."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L

from roots.callbacks.background import Flight

PATIENCE = 60.0  # seconds; a test that waits so long has failed


@contextmanager
def before_writing(call: Any, after: Any = lambda flight: None) -> Iterator[None]:
    """Calls functions in the thread that writes, before and after it does."""
    original = Flight.run

    def run(self: Flight) -> None:
        write = self._write

        def watched() -> None:
            call(self)
            write()

        self._write = watched
        try:
            original(self)
        finally:
            after(self)

    Flight.run = run  # type: ignore[method-assign]
    try:
        yield
    finally:
        Flight.run = original  # type: ignore[method-assign]


class Held(L.Callback):
    """Holds back what is written behind a step until some later step is done.

    Args:
        until: By the step of the checkpoint, the step after which it is written.
    """

    def __init__(self, until: dict[int, int]) -> None:
        self.until = until
        self.goes_on = {step: threading.Event() for step in until}
        self.while_held: dict[int, list[str]] = {}

    def __call__(self, flight: Flight) -> None:
        step = flight.saving.step
        if step in self.goes_on:
            assert self.goes_on[step].wait(PATIENCE)

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        for step, last in self.until.items():
            if trainer.global_step == last:
                folder = trainer.run.checkpoints_folder
                self.while_held[step] = sorted(path.name for path in folder.iterdir())
                self.goes_on[step].set()
                flight = trainer.checkpoints._flight
                if flight is not None:
                    flight.join()

    def on_exception(self, *_: Any) -> None:
        for event in self.goes_on.values():
            event.set()


class FullDisk:
    """Lets no file grow beyond a size while the checkpoint of a step is written, by anybody.

    Args:
        steps: Of the checkpoints.
        n_bytes: The size.
    """

    def __init__(self, steps: tuple[int, ...], n_bytes: int = 20_000) -> None:
        self.steps = steps
        self.n_bytes = n_bytes
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def __call__(self, flight: Flight) -> None:
        if flight.saving.step in self.steps:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.n_bytes, self.before[1]))

    def over(self, _flight: Flight) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


class Joins(L.Callback):
    """Waits, after some steps, until what is written behind them is written."""

    def __init__(self, *steps: int) -> None:
        self.steps = steps

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step in self.steps and trainer.checkpoints._flight is not None:
            trainer.checkpoints._flight.join()


class Rooms(L.Callback):
    """Notes how much memory the copies have while they are kept."""

    def __init__(self) -> None:
        self.n_bytes = 0

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        self.n_bytes = max(self.n_bytes, trainer.checkpoints._host.n_bytes)
