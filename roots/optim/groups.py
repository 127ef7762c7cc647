"""Which parameters are decayed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn


def decays(owner: nn.Module, parameter: nn.Parameter) -> bool:
    """Tells whether weight decay may shrink a parameter: matrices of layers, nothing else.

    Norms and biases are vectors; an embedding's row is only touched when its token occurs, and
    decay would shrink rare tokens to nothing.

    Source:
        Brown et al., arXiv:2005.14165, appendix B, after the practice of GPT-2 and BERT.
    """
    return parameter.ndim >= 2 and not isinstance(owner, nn.Embedding)


def parameter_groups(network: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """Sorts the trainable parameters into a decayed and an undecayed group.

    A tied matrix counts once, as what it is registered as first (an embedding).

    Args:
        network: The network to train; parameters without gradient are left out.
        weight_decay: The decay of the first group; the second has none.

    Returns:
        Groups for a torch optimizer, empty ones left out, each with its `name`.
    """
    with_decay: list[nn.Parameter] = []
    without: list[nn.Parameter] = []
    for owner, parameter in _owned(network):
        (with_decay if decays(owner, parameter) else without).append(parameter)
    groups = [
        {"params": with_decay, "weight_decay": weight_decay, "name": "decayed"},
        {"params": without, "weight_decay": 0.0, "name": "undecayed"},
    ]
    return [group for group in groups if group["params"]]


def _owned(network: nn.Module) -> Iterable[tuple[nn.Module, nn.Parameter]]:
    seen = set()
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                yield module, parameter
