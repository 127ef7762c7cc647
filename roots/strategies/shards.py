"""Whole tensors and the shards of them: cutting, gathering, and the norm of what is sharded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

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
    for axis, dim in reversed(cuts_of(like)):
        chunks = part.chunk(like.device_mesh.size(axis), dim)
        index = like.device_mesh.get_local_rank(axis)
        part = chunks[index] if index < len(chunks) else part.narrow(dim, 0, 0)
    return part


def cuts_of(tensor: DTensor) -> list[tuple[int, int]]:
    """Lists along which axes of its mesh a tensor is cut, and which of its own axes.

    What is cut twice was cut along the last axis first: `fully_shard` cuts what a group of ranks
    that share layers has cut before.
    """
    cut_axes: list[Any] = list(enumerate(tensor.placements))
    return [(axis, placement.dim) for axis, placement in cut_axes if not placement.is_replicate()]


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


def gathered(tree: Any, *, keep: bool, to_host: Callable[[Tensor], Tensor] = Tensor.cpu) -> Any:
    """Gives nested dictionaries and lists with whole tensors, on the host, for shards.

    All ranks come here at once and with the same tree. One tensor after the other is gathered; a
    tensor with two names once.

    Args:
        tree: What may have sharded tensors in it.
        keep: Whether this rank wants the result; others get None in the place of each shard.
        to_host: How each comes to the host.
    """
    return replaced(tree, _Gather(keep, to_host), "")


class _Gather:
    def __init__(self, keep: bool, to_host: Callable[[Tensor], Tensor]) -> None:
        self.keep = keep
        self.to_host = to_host
        self.done: dict[int, Tensor | None] = {}

    def __call__(self, tensor: Any, _name: str) -> Any:
        if not isinstance(tensor, Tensor):
            return tensor
        if id(tensor) not in self.done:
            whole = tensor.detach()
            whole = whole.full_tensor() if isinstance(whole, DTensor) else whole
            self.done[id(tensor)] = self.to_host(whole) if self.keep else None
        return self.done[id(tensor)]


@torch.no_grad()
def sharded_norm(parameters: Iterable[nn.Parameter]) -> Float[Tensor, ""]:
    """Gives the norm of sharded gradients, equal on every rank.

    Args:
        parameters: Cut over any axes of one mesh, each in its way; those without a gradient are
            passed over.

    Returns:
        The Euclidean norm of all together, 0-d float32.
    """
    alike: dict[Any, list[Any]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            gradient: Any = parameter.grad
            key = gradient.device_mesh, tuple(axis for axis, _ in cuts_of(gradient))
            alike.setdefault(key, []).append(gradient.to_local())
    squares = [_squares(parts, mesh, axes) for (mesh, axes), parts in alike.items()]
    return torch.stack(squares).sum().sqrt() if squares else torch.zeros(())


def _squares(parts: list[Tensor], mesh: DeviceMesh, axes: tuple[int, ...]) -> Float[Tensor, ""]:
    squares = norm_of(parts).square()
    for axis in axes:
        torch.distributed.all_reduce(squares, group=mesh.get_group(axis))
    return squares
