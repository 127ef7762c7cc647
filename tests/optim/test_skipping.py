"""A step that is left out changes neither weights nor the optimizer's state."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from waits import counted_waits

from roots.optim import AdamW, MasterWeights, Muon, clipped, left_out
from roots.strategies import gradient_norm


def a_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(6, 8), nn.LayerNorm(8), nn.Linear(8, 6))


def over_copies(network: nn.Module) -> Optimizer:
    network.to(torch.bfloat16)
    return MasterWeights(AdamW(learning_rate=0.01).build(network))


OPTIMIZERS: dict[str, Callable[[nn.Module], Optimizer]] = {
    "fused": AdamW(learning_rate=0.01).build,
    "unfused": lambda network: torch.optim.AdamW(network.parameters(), lr=0.01),
    "combined": Muon(learning_rate=0.01).build,
    "master": over_copies,
    "sgd": lambda network: torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9),
}


def give_gradients(network: nn.Module, step: int, *, bad: bool) -> None:
    generator = torch.Generator().manual_seed(step)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter)
    if bad:
        network[2].weight.grad[0, 0] = float("inf")


def train(network: nn.Module, optimizer: Optimizer, steps: list[int], bad: int = -1) -> None:
    for step in steps:
        give_gradients(network, step, bad=step == bad)
        norm = gradient_norm(network.parameters())
        skip = ~norm.isfinite()
        with clipped(optimizer, norm, 1.0), left_out(optimizer, skip):
            optimizer.step()
        optimizer.zero_grad()


def everything(network: nn.Module, optimizer: Optimizer) -> list[Tensor]:
    states = optimizer.state_dict()["state"].values()
    kept = [value for state in states for _, value in sorted(state.items())]
    return [p.detach().clone() for p in network.parameters()] + copy.deepcopy(kept)


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("bad", [0, 2])
def test_the_steps_around_it_are_bitwise_those_of_a_run_without_it(kind: str, bad: int) -> None:
    network, other = a_network(), a_network()
    optimizer, its = OPTIMIZERS[kind](network), OPTIMIZERS[kind](other)
    train(network, optimizer, [0, 1, 2, 3, 4], bad)
    train(other, its, [step for step in range(5) if step != bad])
    ours, theirs = everything(network, optimizer), everything(other, its)
    assert len(ours) == len(theirs)
    for one, another in zip(ours, theirs, strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(another))


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_it_leaves_weights_moments_and_counters_bitwise_alone(kind: str) -> None:
    network = a_network()
    optimizer = OPTIMIZERS[kind](network)
    train(network, optimizer, [0, 1])
    before = everything(network, optimizer)
    train(network, optimizer, [2], bad=2)
    for one, another in zip(before, everything(network, optimizer), strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(another))
    train(network, optimizer, [3])
    assert not torch.equal(before[0], everything(network, optimizer)[0])


@pytest.mark.parametrize(("kind", "waits"), [("fused", 0), ("master", 0), ("combined", 1)])
def test_the_host_waits_only_for_optimizers_without_a_place_for_the_flag(
    kind: str, waits: int
) -> None:
    network = a_network()
    optimizer = OPTIMIZERS[kind](network)
    train(network, optimizer, [0])
    give_gradients(network, 1, bad=False)
    skip = torch.tensor(False)
    with counted_waits() as counted, left_out(optimizer, skip):
        before = len(counted.found)
        optimizer.step()
        counted.found = [w for w in counted.found[before:] if "skipping.py" in w]
    assert len(counted.found) == waits


def test_nothing_is_asked_of_the_optimizer_where_nothing_can_be_left_out() -> None:
    network = a_network()
    optimizer: Any = OPTIMIZERS["fused"](network)
    give_gradients(network, 0, bad=False)
    with left_out(optimizer, None):
        assert not hasattr(optimizer, "found_inf") or optimizer.found_inf is None
