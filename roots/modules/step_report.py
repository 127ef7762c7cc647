"""What one optimizer step was like, read from the device at once and only when somebody asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from roots.errors import ConfigError


class StepNumbers(NamedTuple):
    """The tensors of a StepReport, on the host."""

    loss: float
    grad_norm: float
    stops: float
    others: dict[str, float]


@dataclass(frozen=True)
class StepReport:
    """What one optimizer step was like; the tensors stay on the device until they are read.

    Args:
        loss: Mean of what is optimized over the labels of all ranks, 0-d.
        grad_norm: Norm of the gradient before clipping, 0-d.
        stops: Above 0 where a rank asked to end the run before this step, 0-d.
        learning_rate: The rate of this step.
        samples: This rank's samples, on the host.
        step: The step, counted from 0.
        others: More that is logged, by its name: the loss scale, counts of skipped steps; 0-d.
        miscounted: Labels that the step was divided by too many or too few, 0-d.
    """

    loss: Tensor
    grad_norm: Tensor
    stops: Tensor
    learning_rate: float
    samples: Tensor
    step: int
    others: Mapping[str, Tensor] = field(default_factory=dict)
    miscounted: Tensor = field(default_factory=lambda: torch.zeros(()))

    @cached_property
    def numbers(self) -> StepNumbers:
        """The tensors, read in one transfer: the host waits for the device here, and once.

        Raises:
            ConfigError: The step was divided by another number of labels than were scored.
        """
        tensors = (self.loss, self.grad_norm, self.stops, self.miscounted, *self.others.values())
        read = torch.stack([t.to(self.loss) for t in tensors]).tolist()
        loss, norm, stops, miscounted, *others = read
        if miscounted:
            raise ConfigError(
                f"Step {self.step + 1:,} scored {miscounted:,.0f} labels more or fewer than its"
                " loss was divided by, while validations divide by what was scored. Let the"
                " module's n_labels_of count a batch as n_labels of its Scores does (by rows,"
                " where the loss is of rows)."
            )
        return StepNumbers(loss, norm, stops, dict(zip(self.others, others, strict=True)))
