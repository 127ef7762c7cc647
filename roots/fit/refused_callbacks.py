"""Callbacks of Lightning that would do something else here, and what to set instead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import lightning as L
from lightning.pytorch import callbacks as lightnings

from roots.callbacks import WeightAverage
from roots.errors import ConfigError

REFUSED = {
    lightnings.WeightAveraging: "it would measure its average and leave other weights in the"
    " folder to use; take roots.callbacks.WeightAverage",
    lightnings.StochasticWeightAveraging: "it changes the learning rate by epochs, and a run has"
    " one endless epoch; take roots.callbacks.WeightAverage",
    lightnings.ModelCheckpoint: "the trainer writes checkpoints itself; set"
    " trainer.checkpoint_every_steps, trainer.keep_best and trainer.monitor",
    lightnings.OnExceptionCheckpoint: "the trainer writes checkpoints itself; set"
    " trainer.checkpoint_every_steps to lose fewer steps",
    lightnings.ProgressBar: "the trainer shows progress itself; set trainer.progress",
    lightnings.GradientAccumulationScheduler: "a loader item is a whole optimizer step here; set"
    " data.first_sequences_per_step and data.growing_steps for steps that grow, and"
    " model.micro_batch_size for what fits into memory",
    lightnings.BatchSizeFinder: "set model.micro_batch_size to auto",
    lightnings.LearningRateFinder: "the rate of each step is the schedule's; try several with"
    " `roots sweep`",
}


def check_callbacks(callbacks: Sequence[L.Callback]) -> None:
    """Raises ConfigError for a callback that a run of roots cannot have, with what it can."""
    check_states(callbacks)
    if sum(isinstance(callback, WeightAverage) for callback in callbacks) > 1:
        raise ConfigError(
            "trainer.callbacks: WeightAverage is there twice, and a checkpoint has one place for an"
            " average of the weights. Leave one out, and compare decays in runs of their own."
        )
    for callback in callbacks:
        for kind, instead in REFUSED.items():
            if isinstance(callback, kind):
                name = type(callback).__name__
                raise ConfigError(f"trainer.callbacks: {name} is not used: {instead}.")


def check_states(callbacks: Iterable[L.Callback]) -> None:
    """Raises ConfigError where a checkpoint has one place for the states of two callbacks."""
    seen: set[str] = set()
    for callback in callbacks:
        if type(callback).state_dict is L.Callback.state_dict:
            continue
        if callback.state_key in seen:
            name = type(callback).__name__
            raise ConfigError(
                f"trainer.callbacks: {name} is there twice, and a checkpoint has one place for its"
                " state. Leave one out, or make a class that inherits it and has a state_key of its"
                " own, and name that."
            )
        seen.add(callback.state_key)
