"""Ends a run whose validations get no better."""

from __future__ import annotations

import math
from typing import Any

import lightning as L

from roots.errors import ConfigError


class EarlyStopping(L.Callback):
    """Ends the run after so many validations in a row that bring no better value of its monitor.

    Which metric that is, and whether more or less of it is better, the trainer says (`monitor`,
    `monitor_mode`); its best checkpoint is the one to use. How long it has been waited is in the
    checkpoints, so that a run that goes on stops where it would have stopped; one that goes on by
    another metric waits anew, for a better value than its checkpoints have. The schedule of the
    learning rate is still that of all `max_steps`.

    Args:
        patience: Validations, at least 1.

    Raises:
        ConfigError: `patience` is less.
    """

    def __init__(self, *, patience: int) -> None:
        if patience < 1:
            raise ConfigError(
                f"early_stopping={patience} would stop before the first validation. Set"
                " trainer.early_stopping to 1 or more, or to 0 to train to the end."
            )
        self.patience = patience
        self._best = math.nan
        self._best_step = 0
        self._waited = 0
        self._judged_by = ("", "")  # monitor and mode

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Takes the metric that the trainer monitors; the best of another says nothing of it."""
        ours: Any = trainer
        best = ours.checkpoints.best
        before, self._judged_by = self._judged_by, (best.monitor, best.mode)
        if before == self._judged_by:  # "" in a new run, or where it did not judge before
            return
        known = [(c.metrics[best.monitor], c.step) for c in best.ranked(ours.run.checkpoints())]
        # by the folders that the first rank sees: another machine's disk may lag behind
        self._best, self._best_step = ours.strategy.broadcast((known or [(math.nan, 0)])[0])
        self._waited = 0

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compares with the best so far, before a checkpoint is written; equal on all ranks."""
        ours: Any = trainer
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        if ours.checkpoints.monitor not in ours.latest:
            self._refuse(ours, pl_module)
            return
        value = float(ours.latest[ours.checkpoints.monitor])
        if ours.checkpoints.is_better(value, self._best):
            self._best, self._best_step, self._waited = value, trainer.global_step, 0
            return
        self._waited += 1
        if self._waited >= self.patience and trainer.global_step < trainer.max_steps:
            monitor, mode = ours.checkpoints.best.monitor, ours.checkpoints.best.mode
            decided = {"waited": self._waited, "monitor": monitor, "mode": mode}
            ours.early_stop = {"why": self._words(ours), **decided}
            ours.say(f"stopping early: {ours.early_stop['why']}")
            trainer.should_stop = True

    def holds(self, early_stop: dict[str, Any], trainer: Any) -> bool:
        """Tells whether what ended a run would end it still: by this patience and metric.

        Args:
            early_stop: What was decided, as a checkpoint has it; empty where nothing was.
            trainer: The trainer that goes on.
        """
        best = trainer.checkpoints.best
        judged_by = (early_stop.get("monitor"), early_stop.get("mode"))
        return judged_by == (best.monitor, best.mode) and early_stop["waited"] >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """Gives the best so far, and how long it has been waited, as plain values."""
        monitor, mode = self._judged_by
        return {
            "best": self._best,
            "best_step": self._best_step,
            "waited": self._waited,
            "monitor": monitor,
            "mode": mode,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on waiting."""
        self._best, self._best_step = state_dict["best"], state_dict["best_step"]
        self._waited = state_dict["waited"]
        self._judged_by = (state_dict.get("monitor", ""), state_dict.get("mode", ""))

    def _refuse(self, trainer: Any, module: L.LightningModule) -> None:
        """Ends a run that would wait for nothing, once its step is saved; not one at its end."""
        if trainer.global_step >= trainer.max_steps:
            return
        trainer.checkpoints.on_validation_end(trainer, module)  # refuses what nothing ever reports
        there = ", ".join(sorted(name for name in trainer.latest if name.startswith("val/")))
        raise ConfigError(
            f"trainer.early_stopping waits for {trainer.checkpoints.monitor}, which this validation"
            f" did not report. Set trainer.monitor to one of {there}, or trainer.early_stopping to"
            " 0."
        )

    def _words(self, trainer: Any) -> str:
        name, times = trainer.checkpoints.monitor, "validation" + "s" * (self._waited > 1)
        return (
            f"{name} was not better than {self._best:.6g} (step {self._best_step:,}) in"
            f" {self._waited} {times}"
        )
