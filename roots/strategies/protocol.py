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
    def clip_grad_norm(
        self, parameters: Iterable[nn.Parameter], clip_norm: float
    ) -> Float[Tensor, ""]:
        """Scales the gradients to a norm of at most `clip_norm`; gives the norm they had."""

    def shard(self, network: nn.Module) -> nn.Module:
        """Cuts a network over the devices, where the strategy does that; else gives it back."""
        return network


def total_norm(gradients: list[Tensor]) -> Float[Tensor, ""]:
    """Gives the Euclidean norm of all gradients together, summed in float32 at least."""
    if not gradients:
        return torch.zeros(())
    low = gradients[0].dtype.itemsize < 4
    norms = torch._foreach_norm(gradients, 2.0, torch.float32 if low else None)
    norm: Tensor = torch.linalg.vector_norm(torch.stack(norms)).float()
    return norm


@torch.no_grad()
def clip_gradients(parameters: Iterable[nn.Parameter], clip_norm: float) -> Float[Tensor, ""]:
    """Clips gradients that every rank holds whole.

    Args:
        parameters: Those without a gradient are passed over.
        clip_norm: The largest Euclidean norm of all gradients together; infinity clips nothing.

    Returns:
        The norm before clipping, 0-d float32.

    Source:
        Pascanu et al., arXiv:1211.5063, algorithm 1.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = total_norm(gradients)
    if gradients and clip_norm != float("inf"):
        scale = torch.clamp(clip_norm / (norm + 1e-6), max=1.0)
        torch._foreach_mul_(gradients, scale.to(gradients[0].dtype))
    return norm
