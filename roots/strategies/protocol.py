"""What a module asks of a strategy to make one optimizer step out of several micro-batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.strategies import Strategy
from torch import Tensor, nn

from roots.networks import Give, Trainable
from roots.optim import OptimizerBuilder
from roots.strategies.sharded_files import read_file, read_whole


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

    builds_whole: bool = True
    """Whether each rank builds the whole network; otherwise `shard` cuts one without weights."""

    hides_weights: bool = False
    """Whether parameters are empty between their uses, as under DeepSpeed's stage 3."""

    def shard(self, trainable: Trainable, fill: Callable[[Give], None]) -> None:
        """Cuts a network on the meta device over the devices, and gives it its weights.

        Args:
            trainable: Changed in place.
            fill: Hands over every tensor of the network within, whole.
        """
        raise NotImplementedError(f"{type(self).__name__} does not cut networks")

    def reshard(self) -> None:
        """Leaves each rank with its part of the weights, where some of them are whole."""

    def gather_weights(self, network: nn.Module) -> dict[str, Tensor] | None:  # noqa: ARG002
        """Gathers the whole weights on the first rank; all ranks come here at once.

        Returns:
            The weights under the network's own names, on the host; empty on other ranks; None
            where every rank has them anyway.
        """
        return None

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> Any:  # noqa: ARG002
        """Reads a checkpoint that any strategy wrote, whole.

        Raises:
            CheckpointError: It is damaged, or holds pickled objects.
        """
        path = Path(checkpoint_path)
        return read_whole(path) if path.is_dir() else read_file(path)

    def joined(self, mine: list[Any]) -> list[Any]:
        """Joins the lists of all ranks, in their order; all ranks come here at once."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return mine
        lists: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(lists, mine)
        return [entry for part in lists for entry in part]

    def smallest(self, mine: int) -> int:
        """Gives the smallest number that a rank has; all ranks come here at once."""
        return int(min(self.joined([mine])))

    def check(self, *, optimizer: OptimizerBuilder, precision: Precision, compiled: str) -> None:
        """Raises ConfigError when these do not work together, with what does."""

    def check_run(self, module: Any, callbacks: Sequence[Any]) -> None:
        """Raises ConfigError for other settings of a module, or callbacks, that do not work."""


@torch.no_grad()
def gradient_norm(parameters: Iterable[nn.Parameter]) -> Float[Tensor, ""]:
    """Gives the norm of gradients that every rank holds whole.

    Args:
        parameters: Those without a gradient are passed over.

    Returns:
        The Euclidean norm of all together, 0-d float32, summed in float32 at least.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    return norm_of(gradients) if gradients else torch.zeros(())


def norm_of(tensors: list[Tensor]) -> Float[Tensor, ""]:
    """Gives the Euclidean norm of tensors together, 0-d float32, summed in float32 at least."""
    low = any(tensor.dtype.itemsize < 4 for tensor in tensors)
    norms = torch._foreach_norm(tensors, 2.0, torch.float32 if low else None)
    norm: Tensor = torch.linalg.vector_norm(torch.stack(norms)).float()
    return norm
