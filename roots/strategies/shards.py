"""Whole tensors and the shards of them: cutting, gathering, and the norm of what is sharded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Shard

from roots.strategies.protocol import norm_of
from roots.strategies.sharded_files import replaced


def cut(whole: Tensor, like: DTensor) -> Tensor:
    """Gives this rank's part of a whole tensor, as a view: nothing is sent or copied.

    Args:
        whole: The same on every rank, on any device.
        like: A tensor of that shape that is cut as the part shall be; sharded axes are cut as
            `torch.chunk` does, so the last ranks may have less, or nothing.
    """
    part = whole
    for axis, placement in enumerate(like.placements):
        if isinstance(placement, Shard):
            chunks = part.chunk(like.device_mesh.size(axis), placement.dim)
            index = like.device_mesh.get_local_rank(axis)
            part = chunks[index] if index < len(chunks) else part.narrow(placement.dim, 0, 0)
    return part


def sharded_as(whole: Tensor, like: Tensor) -> Tensor:
    """Gives a whole tensor in the form of another: cut, in memory of its own, on its device."""
    if not isinstance(like, DTensor):
        return whole
    part = cut(whole, like).to(like.device, copy=True).contiguous()
    return DTensor.from_local(
        part,
        like.device_mesh,
        like.placements,
        run_check=False,
        shape=whole.shape,
        stride=like.stride(),
    )


@torch.no_grad()
def place(whole: Tensor, target: Tensor) -> None:
    """Writes this rank's part of a tensor, whole or cut alike, into the one a network holds."""
    if isinstance(target, DTensor):
        part = whole.to_local() if isinstance(whole, DTensor) else cut(whole, target)
        target.to_local().copy_(part)
    else:
        target.copy_(whole)


def gathered(tree: Any, *, keep: bool) -> Any:
    """Gives nested dictionaries and lists with whole tensors, on the host, for shards.

    All ranks come here at once and with the same tree. One tensor after the other is gathered; a
    tensor with two names once.

    Args:
        tree: What may have sharded tensors in it.
        keep: Whether this rank wants the result; others get None in the place of each shard.
    """
    return replaced(tree, _Gather(keep), "")


class _Gather:
    def __init__(self, keep: bool) -> None:
        self.keep = keep
        self.done: dict[int, Tensor | None] = {}

    def __call__(self, tensor: Any, _name: str) -> Any:
        if not isinstance(tensor, Tensor):
            return tensor
        if id(tensor) not in self.done:
            whole = tensor.detach()
            whole = whole.full_tensor() if isinstance(whole, DTensor) else whole
            self.done[id(tensor)] = whole.cpu() if self.keep else None
        return self.done[id(tensor)]


@torch.no_grad()
def sharded_norm(parameters: Iterable[nn.Parameter]) -> Float[Tensor, ""]:
    """Gives the norm of sharded gradients, equal on every rank.

    Args:
        parameters: All cut over the same ranks, and not over any other; those without a gradient
            are passed over.

    Returns:
        The Euclidean norm of all together, 0-d float32.
    """
    gradients: list[Any] = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros(())
    first = gradients[0]
    squares = norm_of([gradient.to_local() for gradient in gradients]).square()
    for axis, placement in enumerate(first.placements):
        if isinstance(placement, Shard):
            torch.distributed.all_reduce(squares, group=first.device_mesh.get_group(axis))
    return squares.sqrt()
