"""The repeated layers of a network: what is compiled, sharded and recomputed one by one."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import PreTrainedModel


def blocks_of(network: PreTrainedModel) -> list[nn.Module]:
    """Finds the repeated layers of a network, in the order of its forward pass.

    They are the entries of its module lists that its authors say must not be split; where they say
    nothing, those of the kinds that the list with the most parameters has. Of an encoder-decoder,
    either half is looked through by itself: its layers are of other kinds.

    Args:
        network: Real, sharded, or on the meta device.

    Returns:
        The blocks, one that holds another before it; empty when nothing is repeated.
    """
    names = set(getattr(network, "_no_split_modules", None) or ())
    halves: list[nn.Module] = [network.base_model]
    if network.config.is_encoder_decoder:
        halves = [network.get_encoder(), network.get_decoder()]
    found = [block for half in halves for block in _blocks_in(half, names)]
    return list(dict.fromkeys(found))  # a network of an encoder alone has no other half


def _blocks_in(part: nn.Module, names: set[str]) -> list[nn.Module]:
    lists = [m for m in part.modules() if isinstance(m, nn.ModuleList) and len(m)]
    lists = [m for m in lists if not isinstance(m[0], nn.ModuleList)]  # Funnel's of its stages
    entries = [block for found in lists for block in found]
    named = [block for block in entries if type(block).__name__ in names]
    if named or not lists:
        return named
    kinds = {type(block) for block in max(lists, key=_size)}
    return [block for block in entries if type(block) in kinds]


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
