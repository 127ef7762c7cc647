"""Clipping against torch's, and strategies by name."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from roots.errors import ConfigError
from roots.strategies import (
    DDP,
    STRATEGIES,
    SingleDevice,
    StepStrategy,
    clip_gradients,
    strategy_named,
)

CPU = torch.device("cpu")


def a_network(dtype: torch.dtype = torch.float32) -> nn.Module:
    """A network with gradients, one parameter of it without."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 3), nn.LayerNorm(3)).to(dtype)
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    network[1].bias.grad = None
    return network


def norm_by_definition(network: nn.Module) -> float:
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    return math.sqrt(math.fsum(float(g.double().square().sum()) for g in grads))


@pytest.mark.parametrize("clip_norm", [1e-3, 1.0, 4.0, 1e3])
def test_it_is_torchs_clip_grad_norm(clip_norm: float) -> None:
    ours = a_network()
    theirs = copy.deepcopy(ours)
    for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
        its.grad = None if mine.grad is None else mine.grad.clone()
    norm = clip_gradients(ours.parameters(), clip_norm)
    torchs = torch.nn.utils.clip_grad_norm_(theirs.parameters(), clip_norm)
    assert torch.equal(norm, torchs)
    for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert (mine.grad is None) == (its.grad is None)
        if mine.grad is not None:
            torch.testing.assert_close(mine.grad, its.grad, rtol=1e-6, atol=0)


@pytest.mark.parametrize("clip_norm", [0.5, 1e3])
def test_the_norm_afterwards_is_at_most_the_limit(clip_norm: float) -> None:
    network = a_network()
    before = norm_by_definition(network)
    norm = clip_gradients(network.parameters(), clip_norm)
    assert norm.item() == pytest.approx(before, rel=1e-6)
    assert norm_by_definition(network) == pytest.approx(min(before, clip_norm), rel=1e-5)


def test_infinity_clips_nothing_and_still_measures() -> None:
    network = a_network()
    before = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    norm = clip_gradients(network.parameters(), math.inf)
    after = [p.grad for p in network.parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert norm.item() == pytest.approx(norm_by_definition(network), rel=1e-6)


def test_gradients_below_the_limit_stay_bitwise() -> None:
    network = a_network()
    before = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    clip_gradients(network.parameters(), 1e4)
    after = [p.grad for p in network.parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_bfloat16_gradients_stay_bfloat16_and_the_norm_is_float32() -> None:
    network = a_network(torch.bfloat16)
    before = norm_by_definition(network)
    norm = clip_gradients(network.parameters(), 1.0)
    assert norm.dtype == torch.float32
    assert norm.item() == pytest.approx(before, rel=1e-5)
    assert norm_by_definition(network) == pytest.approx(1.0, rel=1e-2)
    assert {p.grad.dtype for p in network.parameters() if p.grad is not None} == {torch.bfloat16}


@pytest.mark.parametrize("clip_norm", [1.0, math.inf])
def test_without_any_gradient_the_norm_is_zero(clip_norm: float) -> None:
    assert clip_gradients(nn.Linear(2, 2).parameters(), clip_norm).item() == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_shows_in_the_norm(bad: float) -> None:
    network = a_network()
    network[1].weight.grad[0, 0] = bad
    assert not clip_gradients(network.parameters(), 1.0).isfinite()


@pytest.mark.parametrize("strategy", [SingleDevice(), DDP()])
def test_every_strategy_clips_so(strategy: StepStrategy) -> None:
    ours, theirs = a_network(), a_network()
    norms = (
        strategy.clip_grad_norm(ours.parameters(), 0.1),
        clip_gradients(theirs.parameters(), 0.1),
    )
    assert norms[0] == norms[1]
    assert torch.equal(ours[1].weight.grad, theirs[1].weight.grad)


# -- strategies by name -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "n_processes", "kind"),
    [
        ("auto", 1, SingleDevice),
        ("auto", 2, DDP),
        ("single_device", 1, SingleDevice),
        ("ddp", 1, DDP),
        ("ddp", 4, DDP),
    ],
)
def test_a_name_makes_a_strategy(name: str, n_processes: int, kind: type) -> None:
    assert type(strategy_named(name, CPU, n_processes)) is kind


def test_one_device_is_the_one_that_is_given() -> None:
    assert strategy_named("auto", torch.device("cuda", 3), 1).root_device == torch.device("cuda", 3)
    assert SingleDevice().root_device == CPU


def test_on_one_device_the_share_is_the_step() -> None:
    strategy = SingleDevice()
    assert (strategy.data_parallel_rank, strategy.data_parallel_size) == (0, 1)


def test_an_unknown_strategy_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no strategy 'dpp'\. .* auto, single_device, ddp"):
        strategy_named("dpp", CPU, 1)
    for name in STRATEGIES:
        strategy_named(name, CPU, 1)


def test_one_device_for_several_processes_is_refused() -> None:
    message = r"single_device cannot use 4 devices\. .*devices to 1, or trainer\.strategy to ddp"
    with pytest.raises(ConfigError, match=message):
        strategy_named("single_device", CPU, 4)
    strategy_named("single_device", CPU, 1)
    strategy_named("ddp", CPU, 4)
