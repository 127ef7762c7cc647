"""A run that went wrong stops before it spoils its weights."""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer

from roots.errors import CheckpointError, TrainingError

CURES = (
    "A lower learning rate, a longer warm-up, a smaller clip_norm or z_loss=1e-4 are the usual"
    " cures."
)


class StopOnNonFinite(L.Callback):
    """Stops when loss or gradient is not finite: before the optimizer steps where that is free.

    On a CPU every step is looked at. On other devices a look makes the host wait, so it is taken
    with each logged step, whose numbers are read anyway, and before each checkpoint: weights that
    are not finite are never saved.
    """

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer
    ) -> None:
        """Looks at every step on a CPU, at logged ones elsewhere."""
        due: Any = trainer
        if reading_is_free(pl_module.device) or due.logs_after(trainer.global_step + 1):
            self.check(trainer, pl_module)

    def check(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Raises TrainingError when the newest step's loss or gradient is not finite."""
        report: Any = pl_module.last_step
        if report is None:
            return
        loss, norm = report.numbers.loss, report.numbers.grad_norm
        if math.isfinite(loss) and math.isfinite(norm):
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        raise TrainingError(
            f"Step {report.step + 1:,} has loss {loss:g} and gradient norm {norm:g}: the run is"
            f" stopped before its weights are spoilt. {data.whence(report.samples.numpy())}"
            f" {_last_good(trainer)} {CURES}"
        )

    def check_weights(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Raises TrainingError when a weight is not finite on any rank."""
        names = [name for name, _ in pl_module.named_parameters()]
        finite = torch.stack([_local(p).isfinite().all() for p in pl_module.parameters()])
        everywhere = trainer.strategy.reduce((~finite).int(), reduce_op="sum")
        bad = [name for name, n in zip(names, everywhere.tolist(), strict=True) if n]
        if bad:
            raise TrainingError(
                f"After step {trainer.global_step:,}, {len(bad):,} of {len(names):,} weights are"
                f" not finite, {bad[0]} for one, although loss and gradient were: they are not"
                " saved."
                f" {_last_good(trainer)} {CURES}"
            )


def reading_is_free(device: torch.device) -> bool:
    """Tells whether the host can read a device's numbers without waiting for its work."""
    return device.type == "cpu"


def _local(parameter: Tensor) -> Tensor:
    """Gives the part of a sharded parameter that this rank holds."""
    return parameter.to_local() if hasattr(parameter, "to_local") else parameter


def _last_good(trainer: Any) -> str:
    try:
        last = trainer.run.last()
    except (CheckpointError, AttributeError):
        return "There is no checkpoint yet."
    return f"The last good checkpoint is {last.path}: go on with --resume {trainer.run.path}."
