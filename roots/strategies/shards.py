"""Whole tensors and the shards of them: cutting, gathering, and the norm of what is sharded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Shard
from torch.optim import Optimizer

from roots.errors import CheckpointError
from roots.strategies.protocol import norm_of


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
    """Writes this rank's part of a whole tensor into the tensor that a network holds."""
    if isinstance(target, DTensor):
        target.to_local().copy_(cut(whole, target))
    else:
        target.copy_(whole)


class Placing:
    """Takes the tensors of a network one by one, and knows in the end whether all have come.

    Args:
        network: Sharded, with memory of its own.
    """

    def __init__(self, network: nn.Module) -> None:
        self.targets: dict[str, Tensor] = dict(network.named_parameters(remove_duplicate=False))
        self.targets |= dict(network.named_buffers(remove_duplicate=False))
        self._placed: set[int] = set()

    def __call__(self, name: str, whole: Tensor) -> None:
        """Writes this rank's part of a tensor."""
        place(whole, self.targets[name])
        self._placed.add(id(self.targets[name]))

    def missing(self) -> list[str]:
        """Names the tensors that have not come; of tied ones, one is enough."""
        return [name for name, t in self.targets.items() if id(t) not in self._placed]


def load_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Writes whole weights into a sharded module, each rank its part.

    Raises:
        CheckpointError: They are not those of this module.
    """
    targets = module.state_dict()
    missing, foreign = sorted(targets.keys() - weights.keys()), sorted(weights.keys() - targets)
    other = [n for n, t in targets.items() if n in weights and t.shape != weights[n].shape]
    if missing or foreign or other:
        some = ", ".join((missing + foreign + other)[:3])
        raise CheckpointError(
            f"The checkpoint's weights are not those of this network: {len(missing):,} are missing,"
            f" {len(foreign):,} are foreign and {len(other):,} have another shape ({some}). Resume"
            " with the network that the run was started with."
        )
    for name, target in targets.items():
        place(weights[name], target)


def load_optimizer(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Gives an optimizer over sharded parameters a state of whole tensors."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    cut_state = {
        number: {name: _like_parameter(value, parameters[number]) for name, value in own.items()}
        for number, own in state["state"].items()
        if number < len(parameters)
    }
    optimizer.load_state_dict({**state, "state": cut_state})


def _like_parameter(value: Any, parameter: Tensor) -> Any:
    """Cuts what belongs to each entry of a parameter; counters stay as they are."""
    if not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    return sharded_as(value, parameter)


def gathered(tree: Any, *, keep: bool) -> Any:
    """Gives nested dictionaries and lists with whole tensors, on the host, for shards.

    All ranks come here at once and with the same tree. One tensor after the other is gathered; a
    tensor with two names once.

    Args:
        tree: What may have sharded tensors in it.
        keep: Whether this rank wants the result; others get None in the place of each shard.
    """
    return _mapped(tree, _Gather(keep))


class _Gather:
    def __init__(self, keep: bool) -> None:
        self.keep = keep
        self.done: dict[int, Tensor | None] = {}

    def __call__(self, tensor: Tensor) -> Tensor | None:
        if id(tensor) not in self.done:
            whole = tensor.detach()
            whole = whole.full_tensor() if isinstance(whole, DTensor) else whole
            self.done[id(tensor)] = whole.cpu() if self.keep else None
        return self.done[id(tensor)]


def _mapped(tree: Any, function: Callable[[Tensor], Any]) -> Any:
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return {key: _mapped(value, function) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_mapped(value, function) for value in tree]
    return tree


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
