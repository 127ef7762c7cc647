"""What one optimizer step was like, read from the device at once and only when somebody asks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor


class StepNumbers(NamedTuple):
    """The tensors of a StepReport, on the host."""

    loss: float
    grad_norm: float
    stops: float


@dataclass(frozen=True)
class StepReport:
    """What one optimizer step was like; the tensors stay on the device until they are read.

    Args:
        loss: Mean of what is optimized over the labels of all ranks, 0-d.
        grad_norm: Norm of the gradient before clipping, 0-d.
        stops: How many ranks asked to end the run before this step, 0-d.
        learning_rate: The rate of this step.
        samples: This rank's samples, on the host.
        step: The step, counted from 0.
    """

    loss: Tensor
    grad_norm: Tensor
    stops: Tensor
    learning_rate: float
    samples: Tensor
    step: int

    @cached_property
    def numbers(self) -> StepNumbers:
        """The tensors, read in one transfer: the host waits for the device here, and once."""
        read = [value.to(self.loss) for value in (self.loss, self.grad_norm, self.stops)]
        return StepNumbers(*torch.stack(read).tolist())
