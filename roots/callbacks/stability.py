"""A run that goes wrong stops before it spoils its weights, or leaves the bad steps out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from roots.errors import CheckpointError, ConfigError, TrainingError, nearest

CURES = (
    "A lower learning rate, a longer warm-up, a smaller clip_norm or z_loss=1e-4 are the usual"
    " cures."
)


class StepRule(L.Callback, ABC):
    """Judges each step before the weights change.

    It is asked on the device, with numbers that are equal on all ranks, so that all ranks decide
    alike and the host waits for nothing. What must be said in words is said in `check`, where the
    step is looked at: on a CPU each, elsewhere the logged ones, whose numbers are read anyway.
    """

    @abstractmethod
    def judge(self, loss: Tensor, grad_norm: Tensor) -> Tensor | None:
        """Decides whether a step is left out.

        Args:
            loss: Mean over the labels of all ranks, 0-d.
            grad_norm: Norm of the gradient before clipping, 0-d.

        Returns:
            True where it is, 0-d; None where this rule leaves nothing out.
        """

    @abstractmethod
    def check(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Raises TrainingError when the newest step must end the run."""

    def counts(self) -> dict[str, Tensor]:
        """Gives what is logged of the steps so far, 0-d."""
        return {}

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer
    ) -> None:
        """Looks at every step on a CPU, at logged ones elsewhere."""
        due: Any = trainer
        if reading_is_free(pl_module.device) or due.logs_after(trainer.global_step + 1):
            self.check(trainer, pl_module)


class NonFinite(StepRule):
    """Stops when loss or gradient is not finite, or leaves such steps out.

    It stops before the optimizer steps where that is free: on a CPU. On other devices a look makes
    the host wait, so it is taken with each logged step, whose numbers are read anyway, and before
    each checkpoint: weights that are not finite are never saved. A step that is left out changes
    neither weights nor the optimizer's state; it counts, and the schedule goes on.

    Args:
        action: `stop` or `skip`. Where a loss scale moves (`16-mixed`) overflows are part of the
            method, and are always skipped.

    Raises:
        ConfigError: There is no such action.
    """

    def __init__(self, *, action: str = "stop") -> None:
        check_action(action, ("stop", "skip"), "trainer.on_non_finite")
        self.action = action
        self._skips = action == "skip"

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Learns whether there is a loss scale."""
        precision: Any = trainer.precision_plugin
        self._skips = self.action == "skip" or precision.loss_scale is not None

    def judge(self, loss: Tensor, grad_norm: Tensor) -> Tensor | None:
        """Leaves out steps that are not finite, when it is to."""
        return ~(loss.isfinite() & grad_norm.isfinite()) if self._skips else None

    def check(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Raises TrainingError when the newest step's loss or gradient is not finite."""
        report: Any = pl_module.last_step
        if report is None or self._skips:
            return
        loss, norm = report.numbers.loss, report.numbers.grad_norm
        if math.isfinite(loss) and math.isfinite(norm):
            return
        raise TrainingError(
            f"Step {report.step + 1:,} has loss {loss:g} and gradient norm {norm:g}: the run is"
            f" stopped before its weights are spoilt. {whence(trainer, report)}"
            f" {last_good(trainer)} {CURES}"
        )

    def check_weights(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Raises TrainingError when a weight is not finite on any rank."""
        names = [name for name, _ in pl_module.named_parameters()]
        device = trainer.strategy.root_device  # what ranks exchange lies there, and not all weights
        parts = (_local(p).isfinite().all() for p in pl_module.parameters())
        finite = torch.stack([part.to(device) for part in parts])
        everywhere = trainer.strategy.reduce((~finite).int(), reduce_op="sum")
        bad = [name for name, n in zip(names, everywhere.tolist(), strict=True) if n]
        if bad:
            raise TrainingError(
                f"After step {trainer.global_step:,}, {len(bad):,} of {len(names):,} weights are"
                f" not finite, {bad[0]} for one, although loss and gradient were: they are not"
                " saved."
                f" {last_good(trainer)} {CURES}"
            )


def reading_is_free(device: torch.device) -> bool:
    """Tells whether the host can read a device's numbers without waiting for its work."""
    return device.type == "cpu"


def _local(parameter: Tensor) -> Tensor:
    """Gives the part of a sharded parameter that this rank holds, under DeepSpeed's stage 3 too.

    DeepSpeed's parts are equally long: what is behind the last number of the last ones is whatever
    the memory held.
    """
    if hasattr(parameter, "ds_tensor"):
        part: Tensor = parameter.ds_tensor
        begin = torch.distributed.get_rank() * part.numel()
        return part.flatten()[: max(0, parameter.ds_numel - begin)]  # type: ignore[attr-defined]
    return parameter.to_local() if hasattr(parameter, "to_local") else parameter


def whence(trainer: Any, report: Any) -> str:
    """Says in a sentence where the rows of a step come from; all ranks come here at once."""
    samples = trainer.strategy.joined(report.samples.tolist())  # one rank's may have spoilt it
    words: str = trainer.datamodule.whence(np.array(samples))
    return words


def check_action(action: str, known: tuple[str, ...], name: str) -> None:
    """Raises ConfigError when `action` is none of those known."""
    if action not in known:
        raise ConfigError(
            f"There is no action {action!r}{nearest(action, known)}. Set {name} to"
            f" {' or '.join(known)}."
        )


def last_good(trainer: Any) -> str:
    """Names the newest checkpoint, once it is written, and how to go on from it."""
    if not trainer.is_global_zero:  # only the first rank knows when it is
        return f"Checkpoints are in {trainer.run.path}, to go on from with --resume."
    try:
        trainer.checkpoints.join()
        last = trainer.run.last()
    except (CheckpointError, AttributeError):
        return "There is no checkpoint yet."
    return f"The last good checkpoint is {last.path}: go on with --resume {trainer.run.path}."
