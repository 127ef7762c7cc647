"""Settings of a trainer that cannot work, and what to set instead."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from roots.errors import ConfigError

REFUSED = {
    "accumulate_grad_batches": "a loader item is a whole optimizer step here; set"
    " model.micro_batch_size to cut it into forward passes that fit into memory",
    "gradient_clip_val": "it is clipped by its norm over all ranks; set model.clip_norm",
    "gradient_clip_algorithm": "it is clipped by norm; set model.clip_norm",
    "val_check_interval": "set trainer.val_every_steps, in optimizer steps",
    "log_every_n_steps": "set trainer.log_every_steps",
    "fast_dev_run": "`roots fit --dry-run` checks everything and trains nothing; for a few steps"
    " set trainer.max_steps",
    "overfit_batches": "set trainer.max_steps, and data on few sequences",
    "limit_train_batches": "set trainer.max_steps",
    "limit_val_batches": "set data.max_val_sequences",
    "profiler": "`roots profile` tells where a step's time and memory go",
    "default_root_dir": "set trainer.runs_dir",
    "logger": "metrics.csv has every number; set trainer.wandb, trainer.trackio or"
    " trainer.tensorboard for more",
    "enable_progress_bar": "set trainer.progress",
    "enable_checkpointing": "set trainer.checkpoint_every_steps and trainer.keep_best",
    "check_val_every_n_epoch": "set trainer.val_every_epochs",
    "min_epochs": "set trainer.max_epochs, and trainer.early_stopping to end before",
    "min_steps": "set trainer.max_steps, and trainer.early_stopping to end before",
    "max_time": "the learning rate falls with the steps; set trainer.max_steps, or add"
    " lightning.pytorch.callbacks.Timer to trainer.callbacks to end before (it counts the time of"
    " all fits of a run, so that a resumed one needs a longer duration)",
    "detect_anomaly": "a step that is not finite stops the run and names its documents; for the"
    " operation call torch.autograd.set_detect_anomaly(True) before",
    "ckpt_path": "`roots fit --resume RUN`, or roots.resume(RUN), goes on with a run",
}
"""Lightning's arguments that would count something else here, and what to set instead."""


def refuses_lightnings_own(init: Callable[..., None]) -> Callable[..., None]:
    """Says what to set instead of Lightning's arguments that would count something else."""

    @functools.wraps(init)
    def checked(self: Any, **arguments: Any) -> None:
        for name in REFUSED.keys() & arguments.keys():
            raise ConfigError(f"trainer.{name} is not used: {REFUSED[name]}.")
        init(self, **arguments)

    return checked


def check_counts(least: int, **counts: int) -> None:
    """Raises ConfigError for a number that is less than the least that works."""
    for name, value in counts.items():
        if value < least:
            raise ConfigError(
                f"{name}={value} is too small. Set trainer.{name} to {least} or more."
            )


def check_one_of(**given: float) -> None:
    """Raises ConfigError unless exactly one of two lengths is given, above 0 and finite."""
    names = [f"trainer.{name}" for name in given]
    values = ", ".join(f"{name}={value:g}" for name, value in given.items())
    lengths = all(0 <= value < math.inf for value in given.values())
    if not lengths or sum(map(bool, given.values())) != 1:
        raise ConfigError(
            f"{values}: set one of {' and '.join(names)} to a number above 0, and not the other."
        )


def check_seed(seed: int) -> None:
    """Raises ConfigError for a number that some generator of random numbers does not take."""
    if not 0 <= seed < 2**32:
        raise ConfigError(
            f"seed={seed} is outside of 0 to {2**32 - 1:,}. Set seed to one of these."
        )


def check_tracked(*, wandb: bool, wandb_checkpoints: bool) -> None:
    """Raises ConfigError when checkpoints are to be sent where nothing is tracked."""
    if wandb_checkpoints and not wandb:
        raise ConfigError(
            "wandb_checkpoints=true sends checkpoints to W&B, but wandb=false tracks nothing there."
            " Set trainer.wandb true as well, or leave trainer.wandb_checkpoints out."
        )
