"""What every optimizer of roots can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import nn
from torch.optim import Optimizer


class OptimizerBuilder(ABC):
    """The settings of an optimizer; the optimizer itself is built once the network is in place.

    A subclass has a `learning_rate`: the peak of the schedule.
    """

    learning_rate: float

    @abstractmethod
    def build(self, network: nn.Module) -> Optimizer:
        """Builds the optimizer for the trainable parameters of `network`."""

    @abstractmethod
    def settings(self, group: dict[str, Any]) -> dict[str, Any]:
        """Gives what a group's settings should be now, the rate aside.

        A checkpoint brings back the settings it was saved with; these are put over them, so that
        a flag changed at resume is honoured.
        """

    @property
    @abstractmethod
    def state_values(self) -> int:
        """How many values of state it keeps for each parameter; for memory plans."""
