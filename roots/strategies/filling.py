"""Filling a sharded network and its optimizer: with what was drawn, or from a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from roots.errors import CheckpointError, ConfigError
from roots.strategies.sharded_files import AVERAGE
from roots.strategies.shards import place, sharded_as


class Placing:
    """Takes the tensors of a network one by one, and knows in the end whether all have come.

    Args:
        network: Sharded, with memory of its own.
    """

    def __init__(self, network: nn.Module) -> None:
        self.targets: dict[str, Tensor] = dict(network.named_parameters(remove_duplicate=False))
        self.targets |= dict(network.named_buffers(remove_duplicate=False))
        self._placed: dict[int, str] = {}

    def __call__(self, name: str, whole: Tensor) -> None:
        """Writes this rank's part of a tensor.

        Raises:
            ConfigError: It has values of its own, and is one with another that has come.
        """
        target = self.targets[name]
        if (before := self._placed.setdefault(id(target), name)) != name:
            raise ConfigError(
                f"{name} and {before} have values of their own in the files, and are one weight in"
                " the network, which is cut before they are read. Set trainer.strategy to ddp."
            )
        place(whole, target)

    def missing(self) -> list[str]:
        """Names the tensors that have not come; of tied ones, one is enough."""
        return [name for name, t in self.targets.items() if id(t) not in self._placed]


@contextmanager
def kept_beside(trainable: Any) -> Iterator[None]:
    """Keeps what a trainable has beside its network while both are given new memory.

    Every rank drew the same; what is cut already is cut alike after it.

    Raises:
        ConfigError: It is of the network, which has no values yet.
    """
    of_network = {id(tensor) for _, tensor in _named(trainable.network)}
    mine = {name: t for name, t in _named(trainable) if id(t) not in of_network}
    bare = [name for name, tensor in mine.items() if tensor.is_meta]
    if bare:
        raise ConfigError(
            f"{bare[0]}, which trainable_of puts beside the network, is a copy of what that has,"
            " and a network that is cut has no values yet. Make the layer anew"
            " (torch.nn.Linear(…)), use the network's own, or set trainer.strategy to ddp."
        )
    kept = {name: tensor.detach().clone() for name, tensor in mine.items()}
    yield
    targets = dict(_named(trainable))
    for name, whole in kept.items():
        place(whole, targets[name])


def _named(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def fill_all(network: nn.Module, fill: Callable[[Any], None]) -> None:
    """Fills a network, each rank its part, with all that is handed over."""
    placing = Placing(network)
    fill(placing)
    assert not placing.missing(), placing.missing()


def buffers_to(device: torch.device, module: nn.Module) -> None:
    """Moves the buffers of a module and leaves its parameters where they are."""
    for part in module.modules():
        for name, buffer in part._buffers.items():
            part._buffers[name] = None if buffer is None else buffer.to(device)


def load_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Writes whole weights into a sharded module, each rank its part.

    Raises:
        CheckpointError: They are not those of this module.
    """
    targets = module.state_dict()
    check_shapes(targets, {name: tensor.shape for name, tensor in weights.items()})
    for name, target in targets.items():
        place(weights[name], target)


def check_shapes(targets: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> None:
    """Raises CheckpointError when names or shapes are not those of the network's weights."""
    missing, foreign = sorted(targets.keys() - shapes.keys()), sorted(shapes.keys() - targets)
    other = [n for n, t in targets.items() if n in shapes and t.shape != shapes[n]]
    if missing or foreign or other:
        some = ", ".join((missing + foreign + other)[:3])
        raise CheckpointError(
            f"The checkpoint's weights are not those of this network: {len(missing):,} are missing,"
            f" {len(foreign):,} are foreign and {len(other):,} have another shape ({some}). Resume"
            " with the network that the run was started with."
        )


def load_optimizer(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Gives an optimizer over sharded parameters a state of tensors, whole or cut alike."""
    parameters = parameters_of(optimizer)
    cut_state = {
        number: {name: _like_parameter(value, parameters[number]) for name, value in own.items()}
        for number, own in state["state"].items()
        if number < len(parameters)
    }
    optimizer.load_state_dict({**state, "state": cut_state})


def _like_parameter(value: Any, parameter: Tensor) -> Any:
    """Cuts what belongs to each entry of a parameter; counters stay as they are."""
    if (
        not isinstance(value, Tensor)
        or isinstance(value, DTensor)
        or value.shape != parameter.shape
    ):
        return value
    return sharded_as(value, parameter)


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Lists what an optimizer steps, in the order in which its state numbers them."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def targets_of(
    plain: Mapping[str, Any],
    sizes: Mapping[str, tuple[torch.Size, torch.dtype]],
    module: nn.Module,
    optimizers: list[Optimizer],
) -> dict[str, Tensor]:
    """Lists what the shards of a checkpoint are read into, by their names among the shards.

    Args:
        plain: The checkpoint, with the names of shards in their places.
        sizes: Shape and format of each, whole.
        module: Its weights are read into in place.
        optimizers: For their states, and the average of the weights, there is new memory, cut as
            the parameters.

    Raises:
        CheckpointError: The weights are not those of this module.
    """
    weights, names = module.state_dict(), plain["state_dict"]
    shapes = {
        name: sizes[found][0] if isinstance(found, str) else found.shape
        for name, found in names.items()
    }
    check_shapes(weights, shapes)
    targets = {found: weights[name] for name, found in names.items() if isinstance(found, str)}
    for name, found in plain.get(AVERAGE, {}).items():
        if isinstance(found, str):
            targets[found] = torch.empty_like(weights[name], dtype=sizes[found][1])
    for optimizer, state in zip(optimizers, plain["optimizer_states"], strict=False):
        parameters = parameters_of(optimizer)
        for number, own in state["state"].items():
            for found in own.values():
                if isinstance(found, str) and number < len(parameters):
                    dtype = sizes[found][1]
                    targets[found] = torch.empty_like(parameters[number], dtype=dtype)
    return targets
