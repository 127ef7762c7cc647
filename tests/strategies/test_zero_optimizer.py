"""States that DeepSpeed cannot take over, found before a part of one is placed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from roots.errors import CheckpointError
from roots.optim import AdamW, MasterWeights
from roots.strategies.zero_optimizer import ZeroOptimizer


def saved(dtype: torch.dtype) -> dict[str, Any]:
    """The state of one device after a step, with float32 copies where weights have fewer bits."""
    network = nn.Linear(3, 2, bias=False).to(dtype)
    optimizer: Any = AdamW().build(network)
    if dtype == torch.bfloat16:
        optimizer = MasterWeights(optimizer)
    network.weight.grad = torch.ones_like(network.weight)
    optimizer.step()
    return optimizer.state_dict()


def loading(dtype: torch.dtype) -> ZeroOptimizer:
    """An optimizer over weights of a format, whose parts are never reached."""
    network = nn.Linear(3, 2, bias=False).to(dtype)
    groups = [{"params": [network.weight], "name": "decayed"}]
    engine = SimpleNamespace(optimizer=SimpleNamespace(param_groups=groups))
    return ZeroOptimizer(None, engine, [[network.weight]])


def test_copies_of_weights_of_fewer_bits_are_not_lost_without_a_word() -> None:
    state = saved(torch.bfloat16)
    with pytest.raises(CheckpointError, match=r"float32 copies .*precision to that of the check"):
        loading(torch.float32).load_state_dict(state)


def test_a_state_without_copies_is_refused_where_they_are_stepped() -> None:
    state = saved(torch.float32)
    with pytest.raises(CheckpointError, match=r"lacks exp_avg, exp_avg_sq, master for 1 of 1"):
        loading(torch.bfloat16).load_state_dict(state)
