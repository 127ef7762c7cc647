"""The norm of the gradients against torch's, and strategies by name."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from roots.errors import ConfigError
from roots.fit import compose
from roots.optim import AdamW
from roots.precision import PRECISIONS, Float32
from roots.strategies import (
    DDP,
    FSDP,
    STRATEGIES,
    SingleDevice,
    StepStrategy,
    gradient_norm,
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


def test_it_is_torchs_and_the_definition() -> None:
    network = a_network()
    norm = gradient_norm(network.parameters())
    assert torch.equal(norm, nn.utils.clip_grad_norm_(network.parameters(), math.inf))
    assert norm.item() == pytest.approx(norm_by_definition(network), rel=1e-6)
    assert norm.dtype == torch.float32
    assert norm.shape == ()


def test_measuring_leaves_the_gradients_alone() -> None:
    network = a_network()
    before = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    gradient_norm(network.parameters())
    after = [p.grad for p in network.parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("low", [range(5), range(1), range(3, 5)])
def test_bfloat16_gradients_are_summed_in_float32(low: range) -> None:
    """Also where some are float32 and others are not."""
    network = a_network()
    for index, parameter in enumerate(network.parameters()):
        if index in low:
            parameter.data = parameter.data.to(torch.bfloat16)
            parameter.grad = None if index == 2 else torch.randn_like(parameter)
    norm = gradient_norm(network.parameters())
    assert norm.dtype == torch.float32
    assert norm.item() == pytest.approx(norm_by_definition(network), rel=1e-6)


def test_without_any_gradient_the_norm_is_zero() -> None:
    assert gradient_norm(nn.Linear(2, 2).parameters()).item() == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_shows_in_the_norm(bad: float) -> None:
    network = a_network()
    network[1].weight.grad[0, 0] = bad
    assert not gradient_norm(network.parameters()).isfinite()


@pytest.mark.parametrize("strategy", [SingleDevice(), DDP()])
def test_every_strategy_measures_so(strategy: StepStrategy) -> None:
    network = a_network()
    assert strategy.grad_norm(network.parameters()) == gradient_norm(network.parameters())


# -- strategies by name -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "n_processes", "kind"),
    [
        ("auto", 1, SingleDevice),
        ("auto", 2, DDP),
        ("single_device", 1, SingleDevice),
        ("ddp", 1, DDP),
        ("ddp", 4, DDP),
        ("fsdp", 1, FSDP),
        ("fsdp", 4, FSDP),
        ("hsdp", 4, FSDP),
        ("tensor_parallel", 4, FSDP),
    ],
)
def test_a_name_makes_a_strategy(name: str, n_processes: int, kind: type) -> None:
    assert type(strategy_named(name, CPU, n_processes)) is kind


def test_ranks_that_share_layers_read_the_same_share(config: dict) -> None:
    four = {"trainer.devices": 4, "trainer.strategy": "tensor_parallel"}
    strategy = compose(config, four).trainer.strategy
    assert (strategy.ranks_per_share, strategy.data_parallel_size) == (2, 2)
    ranks = []
    for rank in range(4):
        strategy.cluster_environment.set_global_rank(rank)
        ranks.append(strategy.data_parallel_rank)
    assert ranks == [0, 0, 1, 1]


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


# -- what cannot be sharded -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "message", "cure"),
    [
        (
            {"model.compile": "network"},
            r"compile=network .* model\.compile to blocks",
            {"model.compile": "blocks"},
        ),
        (
            {
                "model.optimizer": {
                    "class_path": "roots.optim.TorchOptimizer",
                    "init_args": {"name": "Adafactor"},
                }
            },
            r"TorchOptimizer of Adafactor does not work on sharded weights.*optim\.AdamW",
            {
                "model.optimizer": {
                    "class_path": "roots.optim.TorchOptimizer",
                    "init_args": {"name": "SGD"},
                }
            },
        ),
        (
            {"model.optimizer": {"class_path": "roots.optim.AdamW8bit"}},
            r"AdamW8bit does not work on sharded weights.*optim\.AdamW .*or trainer\.strategy",
            {"model.optimizer": {"class_path": "roots.optim.AdamW"}},
        ),
    ],
)
def test_what_cannot_be_sharded_is_refused_when_it_is_read(
    config: dict, setting: dict, message: str, cure: dict
) -> None:
    fsdp = {"trainer.strategy": "fsdp"}
    with pytest.raises(ConfigError, match=message):
        compose(config, {**fsdp, **setting})
    compose(config, {**fsdp, **cure})
    compose(config, setting)


class Float64(Float32):
    """A precision that nobody has tried with sharded weights."""

    def __init__(self) -> None:
        super().__init__()
        self.precision = "64-true"


def test_a_precision_without_a_policy_is_refused_with_those_that_have_one() -> None:
    adamw = AdamW()
    message = r"precision=64-true is not tested with .* to bf16-mixed, .*, fp8-mixed or 32,"
    with pytest.raises(ConfigError, match=message):
        FSDP().check(optimizer=adamw, precision=Float64(), compiled="none")
    for name in set(PRECISIONS) - {"fp8-mixed"}:  # which needs an extra, and has tests of its own
        FSDP().check(optimizer=adamw, precision=PRECISIONS[name](), compiled="none")


def test_copies_that_do_not_divide_the_ranks_are_refused_with_those_that_do(config: dict) -> None:
    def strategy(replicas: int) -> dict:
        return {"class_path": "roots.strategies.FSDP", "init_args": {"replicas": replicas}}

    four = {"trainer.devices": 4}
    for wrong in (3, 8, -1):
        message = rf"replicas={wrong} .* share 4 ranks evenly\. Set it to one of 1, 2, 4;"
        with pytest.raises(ConfigError, match=message):
            compose(config, {**four, "trainer.strategy": strategy(wrong)})
    for right in (0, 1, 2, 4):
        compose(config, {**four, "trainer.strategy": strategy(right)})


def test_hsdp_keeps_a_copy_on_each_machine(config: dict) -> None:
    machines = {"trainer.devices": 2, "trainer.num_nodes": 3}
    hsdp = compose(config, {**machines, "trainer.strategy": "hsdp"}).trainer.strategy
    fsdp = compose(config, {**machines, "trainer.strategy": "fsdp"}).trainer.strategy
    assert (hsdp._n_replicas, fsdp._n_replicas) == (3, 1)
