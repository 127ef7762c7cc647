"""What every optimizer of roots can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import nn
from torch.optim import Optimizer

from roots.errors import ConfigError


class OptimizerBuilder(ABC):
    """The settings of an optimizer; the optimizer itself is built once the network is in place.

    A subclass has a `learning_rate`: the peak of the schedule.
    """

    learning_rate: float

    works_sharded: bool = True
    """Whether it steps parameters that are cut over several ranks."""

    @property
    def label(self) -> str:
        """What it is called in a message."""
        return type(self).__name__

    @abstractmethod
    def build(self, network: nn.Module) -> Optimizer:
        """Builds the optimizer for the trainable parameters of `network`."""

    @abstractmethod
    def settings(self, group: dict[str, Any]) -> dict[str, Any]:
        """Gives what a group's settings should be now, the rate aside.

        A checkpoint brings back the settings it was saved with; these are put over them, so that
        a flag changed at resume is honoured.
        """

    def peak_rate(self, group: dict[str, Any]) -> float:  # noqa: ARG002
        """Gives the peak of the schedule for a group's parameters."""
        return self.learning_rate

    @abstractmethod
    def state_bytes(self, network: nn.Module) -> int:
        """Tells how many bytes of state it keeps for `network`, which may be on the meta device.

        Counters are left out, and so are the float32 copies of bfloat16 weights.
        """

    def state_format(self, optimizer: Optimizer) -> str:
        """Names the number format of the state that the built optimizer keeps.

        torch's optimizers keep it in the format of the parameters that they step.
        """
        formats = {p.dtype for group in optimizer.param_groups for p in group["params"]}
        return " + ".join(sorted(str(format).removeprefix("torch.") for format in formats))


def check_not_negative(**settings: float) -> None:
    """Raises ConfigError for a setting that is below zero."""
    for name, value in settings.items():
        if not value >= 0:
            raise ConfigError(f"{name}={value:g} is negative. Set it to 0 or more.")


def check_layer_decay(layer_decay: float) -> None:
    """Raises ConfigError for what is no fraction of a rate."""
    if not 0 < layer_decay <= 1:
        raise ConfigError(
            f"layer_decay={layer_decay:g} is no fraction of the rate of the layer above."
            " Set it over 0 and at most to 1; 0.9 is usual, 1 trains all layers alike."
        )


def check_decay_rates(**settings: float) -> None:
    """Raises ConfigError for a setting that is no decay rate of a running mean."""
    for name, value in settings.items():
        if not 0 <= value < 1:
            raise ConfigError(
                f"{name}={value:g} is no decay rate of a running mean."
                " Set it to at least 0 and less than 1."
            )
