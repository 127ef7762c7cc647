"""The curves of a run, drawn below the notebook's cell while it trains."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any, Protocol

import lightning as L

from roots.callbacks.notebook import Place
from roots.callbacks.told import told_if_it_fails
from roots.evaluation.canvas import png_of
from roots.evaluation.figures import loss_figure
from roots.evaluation.run_record import read_record

LEAST_WAIT = 20
"""A drawing is followed by so many times its own duration without one: a twentieth of the time."""


class Shows(Protocol):
    """Where curves can be shown."""

    def show(self, forms: dict[str, Any]) -> None:
        """Shows something, by MIME type, in place of what was there."""


class LiveCurves(L.Callback):
    """Draws loss, learning rate and gradient norm while a run trains; every run in a notebook does.

    The time of drawing is left out of the rates, and is a twentieth of the run's at most, the first
    and the last drawing aside.

    Args:
        every_seconds: Least time between two drawings.
        place: Where; None is the place below the notebook's cell.
        now: The clock, in seconds.
    """

    def __init__(
        self,
        *,
        every_seconds: float = 2.0,
        place: Shows | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.every_seconds = every_seconds
        self.now = now
        self._place = place or Place()
        self._next = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the clock."""
        self._next = self.now() + self.every_seconds

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, _: int
    ) -> None:
        """Draws, when a step was logged and the time has come."""
        ours: Any = trainer
        if ours.logs_after(trainer.global_step) and self.now() >= self._next:
            self._draw(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draws the whole run."""
        self._draw(trainer)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Draws what there is of a run that was stopped."""
        self._draw(trainer)

    def _draw(self, trainer: Any) -> None:
        if not trainer.is_global_zero or trainer.run is None:
            return
        began = self.now()
        with trainer.throughput.aside(), told_if_it_fails(trainer, "the curves were not drawn"):
            figure = loss_figure(read_record(trainer.run))
            if figure is not None:
                self._place.show(
                    {
                        "image/png": base64.b64encode(png_of(figure)).decode(),
                        "text/plain": f"curves of {trainer.run.path}",
                    }
                )
        ended = self.now()
        self._next = ended + max(self.every_seconds, LEAST_WAIT * (ended - began))
