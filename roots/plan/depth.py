"""Deep networks through a few of their blocks: what a block needs, each of its kind needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from roots.networks import blocks_of

DEPTHS = (4, 6)
"""Blocks of the networks that are run for one of more blocks; the peak of so many is not at the
start or the end of the network any more."""


def alike(network: Any) -> int:
    """Counts the blocks of a network that consists of one kind; 0 where they differ.

    Alike are entries of one list, of one class, with parameters of the same shapes, all of them
    trained or frozen alike, whose layers see the same of a sequence.
    """
    blocks = blocks_of(network)
    kinds = {(type(block), *_weights(block)) for block in blocks}
    seen = set(getattr(network.config, "layer_types", None) or ())
    one_list = _list_of(network) is not None
    return len(blocks) if one_list and len(kinds) == 1 and len(seen) <= 1 else 0


def _weights(block: nn.Module) -> Iterator[tuple[bool, tuple[int, ...]]]:
    """Says of a block's parameters whether they are trained, and their shapes."""
    return ((p.requires_grad, tuple(p.shape)) for p in block.parameters())


def cut_to(network: Any, depth: int) -> None:
    """Takes away all blocks but the first `depth`."""
    blocks = _list_of(network)
    assert blocks is not None
    del blocks[depth:]


def on_a_line(
    small: dict[str, int], large: dict[str, int], ends: tuple[int, ...], at: int
) -> dict[str, int]:
    """Gives what grows with a size in proportion, from two sizes.

    Args:
        small: Bytes by part at the first size.
        large: At the second.
        ends: The two sizes.
        at: The size that is asked for; it may be beyond them.
    """
    share = (at - ends[0]) / (ends[1] - ends[0])
    line = {
        name: round((1 - share) * small.get(name, 0) + share * large.get(name, 0))
        for name in {*small, *large}
    }
    return {name: max(n_bytes, 0) for name, n_bytes in line.items()}


def _list_of(network: Any) -> nn.ModuleList | None:
    """Finds the one list that holds all blocks."""
    blocks = {id(block) for block in blocks_of(network)}
    for module in network.modules():
        if isinstance(module, nn.ModuleList) and {id(m) for m in module} == blocks and blocks:
            return module
    return None
