"""What a module asks of a strategy to make one optimizer step out of several micro-batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.strategies import Strategy
from torch import Tensor, nn
from transformers import PreTrainedModel

from roots.networks import Give, Root
from roots.optim import OptimizerBuilder
from roots.strategies.plain_state import plain_state
from roots.strategies.sharded_files import read_file, read_whole, write_file

Write = Callable[[], None]
Copied = Callable[[Any], Any]


def as_is(tree: Any) -> Any:
    """Gives what it got."""
    return tree


def _nothing() -> None:
    """Does nothing."""


class StepStrategy(Strategy, ABC):
    """A Lightning strategy that the step by hand can be written against.

    `data_parallel_rank` of `data_parallel_size` says which share of a step this process reads; it
    is not the global rank where ranks share their samples.
    """

    reduces_in: torch.dtype | None = None
    """The number format that gradients are summed over the ranks in; None is their own."""

    ranks_per_share: int = 1
    """How many ranks, one after the other, read the same share of a step."""

    @property
    def data_parallel_size(self) -> int:
        """Into how many shares the sequences of a step are cut."""
        return int(self.world_size) // self.ranks_per_share  # type: ignore[attr-defined]

    @property
    def data_parallel_rank(self) -> int:
        """Which of the shares this process reads, from 0."""
        return int(self.global_rank) // self.ranks_per_share  # type: ignore[attr-defined]

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

    def shard(self, trainable: Root, fill: Callable[[Give], None], *, beside: bool = False) -> None:
        """Cuts a network on the meta device over the devices, and gives it its weights.

        Args:
            trainable: Changed in place.
            fill: Hands over every tensor of the network within, whole.
            beside: It is a second network, which is only asked, beside the one that is trained.
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

    def to_save(self, tree: dict[str, Any]) -> dict[str, Any]:
        """Gives tensors that are cut as a checkpoint takes them; all ranks come here at once."""
        return tree

    to_host: Callable[[Tensor], Tensor] = staticmethod(Tensor.cpu)
    """How a tensor that was gathered to be saved comes to the host."""

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        filepath: Any,
        storage_options: Any | None = None,  # noqa: ARG002
    ) -> None:
        """Writes what a checkpoint has, and makes its folder; all ranks come here at once."""
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.writer(plain_state(checkpoint), path)()

    def writer(self, checkpoint: dict[str, Any], path: Path, copied: Copied = as_is) -> Write:
        """Gives what writes this rank's part of a checkpoint; all ranks come here at once.

        Each calls what it got, from any thread: where ranks wait for each other there, they do so
        apart from the messages of the steps.

        Args:
            checkpoint: Tensors and plain values.
            path: Where to.
            copied: Makes a copy of the checkpoint, which a later step does not change; called on
                the ranks that write.
        """
        return partial(write_file, copied(checkpoint), path) if self.is_global_zero else _nothing

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> Any:  # noqa: ARG002
        """Reads a checkpoint that any strategy wrote, whole.

        Raises:
            CheckpointError: It is damaged, or holds pickled objects.
        """
        path = Path(checkpoint_path)
        return read_whole(path) if path.is_dir() else read_file(path)

    def sum_of_shares(self, tensor: Tensor) -> Tensor:
        """Adds up, in place, what the ranks made of their shares; all ranks come here at once.

        Ranks that read the same share made the same of it, and count once.
        """
        total: Tensor = self.reduce(tensor, reduce_op="sum")
        if self.ranks_per_share == 1:
            return total
        if total.is_floating_point():
            return total.div_(self.ranks_per_share)
        return total.floor_divide_(self.ranks_per_share)

    def joined(self, mine: list[Any]) -> list[Any]:
        """Joins lists that the ranks made of their shares, in order; all ranks come here at once.

        Of ranks that read the same share, the first one's counts.
        """
        lists = self._everyones(mine)[:: self.ranks_per_share]
        return [entry for part in lists for entry in part]

    def smallest(self, mine: int) -> int:
        """Gives the smallest number that a rank has; all ranks come here at once."""
        return int(min(self._everyones(mine)))

    def _everyones(self, mine: Any) -> list[Any]:
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return [mine]
        found: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(found, mine)
        return found

    def check_network(self, network: PreTrainedModel) -> None:
        """Raises ConfigError when an empty network like this one cannot be split so."""

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
