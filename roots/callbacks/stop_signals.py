"""Ctrl-C, SIGTERM and SIGUSR1 end a run with a checkpoint."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any

import lightning as L
import torch
from torch import Tensor

from roots.callbacks import stability
from roots.errors import RootsError
from roots.strategies.launching import is_interactive

NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")  # Windows has no SIGUSR1
LISTENED = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
LATE = 2
"""Steps that an accelerator's answer is read late: it is there by then, and nobody waits for it."""


class Interrupted(RootsError):
    """The run was stopped by a signal after its checkpoint was written: resume it."""

    exit_code = 130


class StopSignals(L.Callback):
    """Finishes the step, writes a checkpoint and stops; a second Ctrl-C stops at once.

    A validation that follows the step is made first, and after the last step the run ends as any:
    once the checkpoint is there, a second signal of any kind stops that at once.

    Several ranks stop after the same step, whichever of them got the signal: each says with a
    step's loss whether it was asked to, and all read the sum. On a CPU that is the step after the
    signal; an accelerator's answer is read two steps late, when it is there.
    """

    def __init__(self) -> None:
        self._received = ""
        self._answers: list[tuple[Tensor, Any]] = []
        self._before: dict[int, Any] = {}
        self._is_saved = False
        """Whether there is a checkpoint of the step after which the run stops."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Notes who listens, before Lightning puts its own listener there."""
        self._received, self._answers, self._is_saved = "", [], False
        if stage == "fit" and threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in LISTENED}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts to listen, in place of Lightning (and of its SIGUSR1 under SLURM)."""
        for number in self._before:
            signal.signal(number, self._note)
        self._is_saved = trainer.global_step >= trainer.max_steps  # all that follows is its end
        # Lightning's ranks would ask each other before each step, and wait for the device to answer
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _nothing  # type: ignore[method-assign]

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Tells the step what this rank has received, or that it could not write a checkpoint."""
        module, ours = pl_module, trainer
        module.asks_to_stop = bool(self._received) or ours.checkpoints.must_stop  # type: ignore

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, _: int
    ) -> None:
        """Stops when any rank got a signal, unless a validation or the end of the run follows."""
        ours: Any = trainer
        if not self._is_asked_to(ours, pl_module):
            return
        validates = ours.validates_after(trainer.global_step)
        if trainer.should_stop and not validates:
            return
        ours.save_now()
        if not validates:
            raise self._interrupted(ours)
        self._is_saved = True
        if trainer.is_global_zero:
            sys.stderr.write(
                f"\nstep {trainer.global_step:,} is saved; its validation is made first (another"
                " signal stops at once)\n"
            )

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stops after the validation that was waited for, unless the run is at its end."""
        ours: Any = trainer
        ends = trainer.should_stop or trainer.global_step >= trainer.max_steps
        if self._is_saved and not ends and trainer.state.fn == "fit":
            ours.checkpoints.on_validation_end(trainer, pl_module)  # Lightning calls it as the last
            ours.save_now()  # with what was measured, also where none is due
            raise self._interrupted(ours)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Stops listening."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    def _is_asked_to(self, trainer: Any, module: Any) -> bool:
        if trainer.world_size == 1:
            return bool(self._received)
        self._answers.append(on_its_way_to_the_host(module.last_step.stops))
        late = 0 if stability.reading_is_free(module.device) else LATE
        if len(self._answers) <= late:
            return False
        answer, arrival = self._answers.pop(0)
        if arrival is not None:
            arrival.synchronize()
        return bool(answer)

    def _interrupted(self, trainer: Any) -> Interrupted:
        stopped = Interrupted(
            f"Stopped at step {trainer.global_step:,} by {self._received or 'another rank'}."
            f" Go on with: {how_to_go_on(trainer.run)}"
        )
        stopped.is_told = trainer.is_global_zero
        return stopped

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self._received and (number == signal.SIGINT or self._is_saved):
            raise KeyboardInterrupt
        self._received = signal.Signals(number).name
        sys.stderr.write(
            f"\n{self._received}: stopping after this step with a checkpoint"
            " (Ctrl-C again to stop at once)\n"
        )


def how_to_go_on(run: Any) -> str:
    """Words what goes on with a run: a command, and at a prompt or in a notebook a line beside."""
    command = f"roots fit --resume {run.path}"
    return (
        f"{command} (here: roots.resume({str(run.path)!r}).fit())" if is_interactive() else command
    )


def on_its_way_to_the_host(number: Tensor) -> tuple[Tensor, Any]:
    """Starts to copy a number of the device; gives its place on the host and the event of arrival.

    On a CPU it has arrived, and there is no event.
    """
    place = torch.tensor(0.0)
    if number.device.type != "cuda":
        return place.copy_(number), None
    place = place.pin_memory().copy_(number, non_blocking=True)
    arrival = torch.cuda.Event()
    arrival.record()
    return place, arrival


def _nothing() -> None:
    """Does nothing."""
