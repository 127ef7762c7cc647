"""The repeated layers of a network: what is compiled, sharded and recomputed one by one."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import PreTrainedModel


def blocks_of(network: PreTrainedModel) -> list[nn.Module]:
    """Finds the repeated layers of a network, in the order of its forward pass.

    They are the entries of its module lists that its authors say must not be split; where they say
    nothing, those of the list with the most parameters.

    Args:
        network: Real, sharded, or on the meta device.

    Returns:
        The blocks, one that holds another before it; empty when nothing is repeated.
    """
    names = set(getattr(network, "_no_split_modules", None) or ())
    lists: list[nn.ModuleList] = [
        m for m in network.base_model.modules() if isinstance(m, nn.ModuleList) and len(m)
    ]
    named = [block for found in lists for block in found if type(block).__name__ in names]
    if named or not lists:
        return named
    return list(max(lists, key=_size))


def _size(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def separable(network: PreTrainedModel) -> list[nn.Module]:
    """Gives the blocks that share no weight with what is outside of them."""
    blocks = blocks_of(network)
    uses: dict[int, int] = {}
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    return [block for block in blocks if _keeps_to_itself(block, uses)]


def _keeps_to_itself(block: nn.Module, uses: dict[int, int]) -> bool:
    own: dict[int, int] = {}
    for module in block.modules():
        for parameter in module.parameters(recurse=False):
            own[id(parameter)] = own.get(id(parameter), 0) + 1
    return all(uses[key] == count for key, count in own.items())
