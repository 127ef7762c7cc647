"""Ctrl-C and SIGTERM end a run with a checkpoint."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any

import lightning as L
import torch

from roots.errors import RootsError

LISTENED = (signal.SIGINT, signal.SIGTERM)


class Interrupted(RootsError):
    """The run was stopped by a signal after its checkpoint was written."""

    exit_code = 130


class StopSignals(L.Callback):
    """Finishes the step, writes a checkpoint and stops; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self._received = ""
        self._before: dict[int, Any] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Notes who listens, before Lightning puts its own listener there."""
        if stage == "fit" and threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in LISTENED}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts to listen."""
        for number in self._before:
            signal.signal(number, self._note)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, _: int
    ) -> None:
        """Stops when any rank got a signal."""
        ours: Any = trainer
        if ours.world_size > 1 and not ours.logs_after(ours.global_step):
            return  # ranks agree at logged steps only: to ask the others takes time
        if not _any_rank(trainer, bool(self._received)):
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

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self._received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._received = signal.Signals(number).name
        sys.stderr.write(
            f"\n{self._received}: stopping after this step with a checkpoint"
            " (Ctrl-C again to stop at once)\n"
        )


def _any_rank(trainer: L.Trainer, mine: bool) -> bool:
    if trainer.world_size == 1:
        return mine
    flag = torch.tensor(int(mine), device=trainer.strategy.root_device)
    return bool(trainer.strategy.reduce(flag, reduce_op="sum").item())
