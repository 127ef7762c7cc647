"""What the step by hand asks of a number format."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from lightning.pytorch.plugins.precision import Precision
from torch import Tensor, nn


class StepPrecision(Precision):
    """A number format that the step by hand is tested with."""

    summary: str
    """What is in which format, in a few words."""

    products: torch.dtype = torch.float32
    """What the run's matrix products multiply, which decides how fast the device can be."""

    def train_step_context(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Surrounds a step by nothing, since the module puts `forward_context` around its forwards.

        Lightning's autocast would go on through a step by hand, where the backward pass and the
        optimizer are too: Adafactor's second moments overflowed in float16.
        """
        return nullcontext()

    @property
    def loss_scale(self) -> Tensor | None:
        """What the loss is multiplied by before the backward pass, 0-d; None where by nothing."""
        return None

    def use_device(self, device: torch.device) -> None:
        """Learns where the run computes."""

    def unscale(self, parameters: Iterable[nn.Parameter]) -> None:
        """Takes the loss scale out of all gradients, in place, before anybody reads them."""

    def after_step(self, grad_norm: Tensor) -> None:
        """Learns from a step whether its gradients were finite, whatever else it was left out for.

        Args:
            grad_norm: Norm of the gradient before clipping, without the scale, 0-d.
        """


class ByAutocast(StepPrecision):
    """Weights as they are; the products of the forward pass in the format of `products`."""

    def __init__(self) -> None:
        super().__init__()
        self._device = torch.device("cpu")

    def use_device(self, device: torch.device) -> None:
        """Tells autocast where the run computes."""
        self._device = device

    @contextmanager
    def forward_context(self) -> Generator[None, None, None]:
        """Makes the products of the forward pass in that format, sums and norms in float32."""
        with torch.autocast(self._device.type, dtype=self.products, cache_enabled=False):
            yield
