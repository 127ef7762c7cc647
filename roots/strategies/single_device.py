"""One process, one device."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from jaxtyping import Float
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor, nn

from roots.strategies.protocol import StepStrategy, gradient_norm


class SingleDevice(SingleDeviceStrategy, StepStrategy):
    """Trains on one device.

    Args:
        device: The torch device: `cpu`, `cuda:0`, `mps`.
    """

    def __init__(self, *, device: str = "cpu") -> None:
        self.device = device
        super().__init__(device=torch.device(device))

    def micro_batch(self, *, last: bool) -> AbstractContextManager[None]:  # noqa: ARG002
        """Does nothing: gradients add up where they are."""
        return nullcontext()

    def grad_norm(self, parameters: Iterable[nn.Parameter]) -> Float[Tensor, ""]:
        """Gives the Euclidean norm of all gradients together."""
        return gradient_norm(parameters)
