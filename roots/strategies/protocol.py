"""What a module asks of a strategy to make one optimizer step out of several micro-batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager

import torch
from jaxtyping import Float
from lightning.pytorch.strategies import Strategy
from torch import Tensor, nn


class StepStrategy(Strategy, ABC):
    """A Lightning strategy that the step by hand can be written against.

    `data_parallel_rank` of `data_parallel_size` says which share of a step this process reads; it
    is not the global rank where ranks share their samples.
    """

    reduces_in: torch.dtype | None = None
    """The number format that gradients are summed over the ranks in; None is their own."""

    @property
    def data_parallel_size(self) -> int:
        """Into how many shares the sequences of a step are cut."""
        return int(self.world_size)  # type: ignore[attr-defined]

    @property
    def data_parallel_rank(self) -> int:
        """Which of the shares this process reads, from 0."""
        return int(self.global_rank)  # type: ignore[attr-defined]

    @abstractmethod
    def micro_batch(self, *, last: bool) -> AbstractContextManager[None]:
        """Surrounds forward and backward of one micro-batch; gradients meet on the last."""

    @abstractmethod
    def grad_norm(self, parameters: Iterable[nn.Parameter]) -> Float[Tensor, ""]:
        """Gives the Euclidean norm of all gradients together, equal on every rank."""

    def shard(self, network: nn.Module) -> nn.Module:
        """Cuts a network over the devices, where the strategy does that; else gives it back."""
        return network


@torch.no_grad()
def gradient_norm(parameters: Iterable[nn.Parameter]) -> Float[Tensor, ""]:
    """Gives the norm of gradients that every rank holds whole.

    Args:
        parameters: Those without a gradient are passed over.

    Returns:
        The Euclidean norm of all together, 0-d float32, summed in float32 at least.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros(())
    low = any(gradient.dtype.itemsize < 4 for gradient in gradients)
    norms = torch._foreach_norm(gradients, 2.0, torch.float32 if low else None)
    norm: Tensor = torch.linalg.vector_norm(torch.stack(norms)).float()
    return norm
