"""Whether a step is left out, asked before the weights change."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def judged(
    trainer: Any, loss: Tensor, grad_norm: Tensor
) -> tuple[Tensor | None, dict[str, Tensor]]:
    """Asks the rules of a run for their verdict on a step; all stays on the device.

    Args:
        trainer: Has the rules in `skipped_steps`, and the precision that may scale the loss.
        loss: Mean over the labels of all ranks, 0-d.
        grad_norm: Norm of the gradient before clipping, 0-d, equal on all ranks.

    Returns:
        True where the step is left out, 0-d, None where nothing can be; and what is logged of it.
    """
    skip = trainer.skipped_steps.judge(loss, grad_norm)
    others = dict(trainer.skipped_steps.counts())
    if trainer.precision_plugin.loss_scale is not None:
        others["optim/loss_scale"] = trainer.precision_plugin.loss_scale
    return skip, others
