"""What follows a run's last step, for a run that was stopped between the two."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import lightning as L

from roots.callbacks import EarlyStopping
from roots.errors import CheckpointError
from roots.runs import Checkpoint, Run, state_of


class EndsRuns(L.Trainer):
    """Lightning's Trainer, which leaves a run alone that has all its steps; this one ends it.

    A run that was stopped after its last step, by a second signal or a lost machine, is validated
    if it was not, and its books are closed. The last step may be one that stopped early.
    """

    resumed_from = 0
    early_stop: dict[str, Any]
    """What EarlyStopping decided, where it ended the run; checkpoints have it."""
    _was_finished = False
    _was_measured = False
    _had_stopped = False

    def remember(self, run: Run, last: Checkpoint) -> None:
        """Takes from a run that is resumed how it ended."""
        with suppress(CheckpointError):  # a damaged record tells nothing, and is written anew
            self._was_finished = state_of(run).state == "finished"
        self._was_measured = bool(last.metrics)
        callbacks: list[L.Callback] = self.callbacks  # type: ignore[attr-defined]
        if any(isinstance(c, EarlyStopping) and c.holds(last.early_stop, self) for c in callbacks):
            self.early_stop, self._had_stopped = last.early_stop, True

    @property
    def stopped_early(self) -> str:
        """Why the run ended before its last step, in words; nothing where it did not."""
        return str(self.early_stop.get("why", ""))

    @property
    def cut_short(self) -> str:
        """Words, after a fit, that a callback ended it before its last step, if one did."""
        if self.global_step >= self.max_steps or self.early_stop:
            return ""
        return f"a callback ended it after {self.global_step:,} of {self.max_steps:,} steps"

    @property
    def only_ends(self) -> bool:
        """Whether the run that is resumed has all its steps, and has not ended."""
        is_there = self.resumed_from == self.max_steps or self._had_stopped
        return is_there and not self._was_finished

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing left to do of the run that is resumed."""
        is_there = self.resumed_from >= self.max_steps or self._had_stopped
        return is_there and not self.only_ends

    def _run_stage(self) -> Any:
        if self.state.fn == "fit" and self._had_stopped:
            self.should_stop = True  # before the first step
        results = super()._run_stage()
        if self.state.fn == "fit" and self.only_ends:  # then it made no step, and called no hook
            self.fit_loop.on_run_start()
            if not self._was_measured:
                self._validate()
            self.fit_loop.on_run_end()
        return results

    def _validate(self) -> None:
        loop = self.fit_loop.epoch_loop.val_loop
        loop.restarting = False
        self.validating = True
        loop.run()
        self.training = True
