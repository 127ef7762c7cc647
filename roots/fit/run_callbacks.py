"""Which callbacks a run has, and in which order they are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L

from roots.callbacks import (
    Compilation,
    EarlyStopping,
    LiveCurves,
    NonFinite,
    Progress,
    RowLengths,
    Samples,
    StopSignals,
    WandbRun,
)
from roots.callbacks.notebook import in_notebook
from roots.fit.micro_batch_size import MicroBatchSize
from roots.fit.refused_callbacks import check_callbacks


def run_callbacks(
    trainer: Any,
    given: Sequence[L.Callback],
    *,
    recorder: L.Callback,
    patience: int,
    progress: bool,
) -> list[L.Callback]:
    """Puts the callbacks that every run has around those that were given.

    What counts or refuses comes before the given ones, which may read it; what writes down comes
    behind them.

    Args:
        trainer: Has the callbacks that others ask by name, and says what is tracked.
        given: The user's.
        recorder: Keeps the books of the run.
        patience: Validations without a better one after which the run ends; 0 for no end.
        progress: Whether progress is shown; in a notebook the curves as well.

    Raises:
        ConfigError: One that was given would do something else here.
    """
    before: list[L.Callback] = [
        MicroBatchSize(),
        recorder,
        RowLengths(),
        Compilation(),
        NonFinite(action=trainer.on_non_finite),
        trainer.skipped_steps,
        _StopAfterLastStep(),
    ]
    if patience:
        before.append(EarlyStopping(patience=patience))
    shown: list[L.Callback] = [Progress()] if progress else []
    if progress and in_notebook() and not any(isinstance(c, LiveCurves) for c in given):
        shown.append(LiveCurves())
    sent: list[L.Callback] = []
    if trainer.wandb:
        sent.append(WandbRun(checkpoints=trainer.wandb_checkpoints))
    samples = [c for c in given if isinstance(c, Samples)]
    others = [c for c in given if not isinstance(c, Samples)]
    every = [*before, *others, *shown, *samples, trainer.checkpoints, StopSignals(), *sent]
    check_callbacks(every)
    return every


class _StopAfterLastStep(L.Callback):
    """Lets Lightning validate after the last step, whatever the interval says."""

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any, **__: Any) -> None:
        if trainer.global_step >= trainer.max_steps:
            trainer.should_stop = True
