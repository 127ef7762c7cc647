"""What follows a run's last step, for a run that was stopped between the two."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import lightning as L

from roots.errors import CheckpointError
from roots.runs import Checkpoint, Run, state_of


class EndsRuns(L.Trainer):
    """Lightning's Trainer, which leaves a run alone that has all its steps; this one ends it.

    A run that was stopped after its last step, by a second signal or a lost machine, is validated
    if it was not, and its books are closed.
    """

    resumed_from = 0
    _was_finished = False
    _was_measured = False

    def remember(self, run: Run, last: Checkpoint) -> None:
        """Takes from a run that is resumed how it ended."""
        with suppress(CheckpointError):  # a damaged record tells nothing, and is written anew
            self._was_finished = state_of(run).state == "finished"
        self._was_measured = bool(last.metrics)

    @property
    def only_ends(self) -> bool:
        """Whether the run that is resumed has all its steps, and has not ended."""
        return self.resumed_from == self.max_steps and not self._was_finished

    def _run_stage(self) -> Any:
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
