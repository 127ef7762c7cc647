"""What a person watches while a run trains."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import lightning as L

from roots.callbacks.notebook import LINES_KEPT, Place, in_notebook
from roots.records import clock


class Progress(L.Callback):
    """One line that is written over on a terminal or in a notebook; elsewhere one per logged step.

    In a notebook the lines that stay are above it, the newest ones.

    Args:
        now: The clock, in seconds.
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self._began = 0.0
        self._first_step = 0
        self._open = False
        self._place = Place() if in_notebook() else None
        self._stayed: list[str] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the clock, and says what was decided when the network was built."""
        self._began, self._first_step = self.now(), trainer.global_step
        for remark in pl_module.remarks:  # type: ignore[union-attr]
            self.say(trainer, str(remark))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, _: int
    ) -> None:
        """Shows the step, when it was logged."""
        ours: Any = trainer
        if trainer.is_global_zero and ours.logs_after(trainer.global_step):
            self._show(self._line(trainer), stay=trainer.global_step >= trainer.max_steps)

    def on_validation_batch_end(  # noqa: PLR0917 - Lightning hands them by position
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Shows how far a validation is, on a terminal."""
        total = sum(trainer.num_val_batches) if trainer.num_val_batches else 0
        if trainer.is_global_zero and (sys.stderr.isatty() or self._place):
            self._show(f"validating {batch_idx + 1:,}/{total:,}", stay=False)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Shows what a validation measured."""
        ours: Any = trainer
        measured = {k[4:]: v for k, v in ours.latest.items() if k.startswith("val/")}
        if trainer.is_global_zero and measured and trainer.state.fn == "fit":
            whole = {name: v for name, v in measured.items() if "/" not in name}  # no single class
            words = " · ".join(f"{name} {value:.4g}" for name, value in whole.items())
            self._show(f"validated after step {trainer.global_step:,} · {words}", stay=True)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Ends the line."""
        self.close()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Ends the line."""
        self.close()

    def say(self, trainer: L.Trainer, text: str) -> None:
        """Shows a line that stays."""
        if trainer.is_global_zero:
            self._show(text, stay=True)

    def close(self) -> None:
        """Ends a line that is still open."""
        if self._open:
            sys.stderr.write("\n")
            self._open = False

    def _line(self, trainer: Any) -> str:
        step, total = trainer.global_step, trainer.max_steps
        done = step - self._first_step
        left = (self.now() - self._began) / max(done, 1) * (total - step)
        loss = trainer.latest.get("train/loss", float("nan"))
        rate = trainer.latest.get("train/tokens_per_second", 0.0)
        return (
            f"step {step:,}/{total:,} · loss {loss:.4f} · {rate:,.0f} tokens/s · {clock(left)} left"
        )

    def _show(self, text: str, *, stay: bool) -> None:
        if self._place is not None:
            lines = [*self._stayed, text]
            self._stayed = lines[-LINES_KEPT:] if stay else self._stayed
            self._place.show({"text/plain": "\n".join(lines)})
            return
        write_line(sys.stderr, text, stay=stay)
        self._open = sys.stderr.isatty() and not stay


def write_line(stream: TextIO, text: str, *, stay: bool) -> None:
    """Writes over the present line of a terminal; appends a line elsewhere."""
    if stream.isatty():
        stream.write(f"\r\x1b[K{text}" + ("\n" if stay else ""))
    else:
        stream.write(text + "\n")
    stream.flush()
