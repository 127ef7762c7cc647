"""One process, one device."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from jaxtyping import Float
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor, nn

from roots.strategies.protocol import StepStrategy, clip_gradients


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

    def clip_grad_norm(
        self, parameters: Iterable[nn.Parameter], clip_norm: float
    ) -> Float[Tensor, ""]:
        """Scales the gradients to a norm of at most `clip_norm`; gives the norm they had."""
        return clip_gradients(parameters, clip_norm)
