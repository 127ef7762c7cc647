"""Ctrl-C and SIGTERM end a run with a checkpoint."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any

import lightning as L

from roots.errors import RootsError

LISTENED = (signal.SIGINT, signal.SIGTERM)


class Interrupted(RootsError):
    """The run was stopped by a signal after its checkpoint was written."""

    exit_code = 130


class StopSignals(L.Callback):
    """Finishes the step, writes a checkpoint and stops; a second Ctrl-C stops at once.

    Several ranks stop after the same step: each says with a step's loss whether it was asked to,
    and all read the sum at logged steps, so that nobody waits for an answer of its own.
    """

    def __init__(self) -> None:
        self._received = ""
        self._before: dict[int, Any] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Notes who listens, before Lightning puts its own listener there."""
        if stage == "fit" and threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in LISTENED}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts to listen, in place of Lightning."""
        for number in self._before:
            signal.signal(number, self._note)
        # Lightning's ranks would ask each other before each step, and wait for the device to answer
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _nothing  # type: ignore[method-assign]

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Tells the step what this rank has received."""
        module: Any = pl_module
        module.asks_to_stop = bool(self._received)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, _: int
    ) -> None:
        """Stops when any rank got a signal."""
        ours: Any = trainer
        if not self._is_asked_to(ours, pl_module):
            return
        ours.save_now()
        raise Interrupted(
            f"Stopped at step {ours.global_step:,} by {self._received or 'another rank'}."
            f" Go on with: roots fit --resume {ours.run.path}"
        )

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Stops listening."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    def _is_asked_to(self, trainer: Any, module: Any) -> bool:
        if trainer.world_size == 1:
            return bool(self._received)
        return bool(trainer.logs_after(trainer.global_step) and module.last_step.numbers.stops)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self._received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._received = signal.Signals(number).name
        sys.stderr.write(
            f"\n{self._received}: stopping after this step with a checkpoint"
            " (Ctrl-C again to stop at once)\n"
        )


def _nothing() -> None:
    """Does nothing."""
