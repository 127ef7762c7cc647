"""AdamW."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from roots.errors import ConfigError
from roots.optim.builder import OptimizerBuilder
from roots.optim.groups import parameter_groups


class AdamW(OptimizerBuilder):
    """Adam with decoupled weight decay, torch's fused implementation.

    Args:
        learning_rate: Peak rate; the schedule scales it.
        weight_decay: Decay of the layers' matrices; norms, biases and embeddings have none.
        beta1: Decay rate of the mean of the gradients, 0 to 1.
        beta2: Decay rate of the mean of their squares, 0 to 1; 0.95 is usual for language models.
        eps: Added to the root of the second mean.

    Raises:
        ConfigError: A rate, a decay or an epsilon below zero, or a beta outside 0 to 1.

    Source:
        Loshchilov & Hutter, arXiv:1711.05101, algorithm 2.
    """

    def __init__(
        self,
        *,
        learning_rate: float = 3e-4,
        weight_decay: float = 0.1,
        beta1: float = 0.9,
        beta2: float = 0.95,
        eps: float = 1e-8,
    ) -> None:
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.beta1 = beta1
        self.beta2 = beta2
        self.eps = eps
        self._check()

    def build(self, network: nn.Module) -> Optimizer:
        """Builds torch's fused AdamW over the two parameter groups."""
        return torch.optim.AdamW(
            parameter_groups(network, weight_decay=self.weight_decay),
            lr=self.learning_rate,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            fused=True,
        )

    def settings(self, group: dict[str, Any]) -> dict[str, Any]:
        """Gives a group's settings, the rate aside."""
        decay = self.weight_decay if group["name"] == "decayed" else 0.0
        return {"weight_decay": decay, "betas": (self.beta1, self.beta2), "eps": self.eps}

    @property
    def state_values(self) -> int:
        """Two: the running means of the gradient and of its square."""
        return 2

    def _check(self) -> None:
        for name in ("learning_rate", "weight_decay", "eps"):
            value = getattr(self, name)
            if value < 0:
                raise ConfigError(f"{name}={value:g} is negative. Set it to 0 or more.")
        for name in ("beta1", "beta2"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ConfigError(
                    f"{name}={value:g} is no decay rate of a running mean."
                    " Set it to at least 0 and less than 1."
                )
