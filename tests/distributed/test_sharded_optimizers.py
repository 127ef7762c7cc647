"""The optimizers on parameters that are cut over two ranks, against whole ones."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_ranks
from tiny import tiny_config
from torch import Tensor, nn
from torch.optim import Optimizer

from roots.fit import compose
from roots.optim import AdamW, Muon, OptimizerBuilder, TorchOptimizer, clipped, left_out
from roots.optim.clipping import divides_in_step
from roots.optim.of_torch import ON_SHARDS

pytestmark = pytest.mark.heavy

BUILDERS: dict[str, OptimizerBuilder] = {
    "AdamW": AdamW(learning_rate=0.05),
    "Muon": Muon(learning_rate=0.05, adamw_learning_rate=0.02),
}

ARGUMENTS: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9, "nesterov": True},
    "Adam": {"amsgrad": True},
    "AdamW": {"fused": True},
    "RMSprop": {"centered": True, "momentum": 0.5},
    "Adagrad": {"initial_accumulator_value": 0.1},
}
NAMED: dict[str, OptimizerBuilder] = {
    cls.__name__: TorchOptimizer(
        name=cls.__name__, learning_rate=0.02, arguments=ARGUMENTS.get(cls.__name__)
    )
    for cls in ON_SHARDS
}

LEFT_OUT = 1  # of the steps


class WithoutFolding(Optimizer):
    """SGD, which has no place for a divisor: its gradients are divided before the step."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network.parameters(), {})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for parameter in self.param_groups[0]["params"]:
            if parameter.grad is not None:
                parameter.sub_(parameter.grad)


def a_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 12), nn.Linear(12, 8), nn.LayerNorm(8))


def sharded() -> nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    network, mesh = a_network(), init_device_mesh("cpu", (2,))
    for module in network:
        fully_shard(module, mesh=mesh)
    return fully_shard(network, mesh=mesh)


def whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def train(network: nn.Module, optimizer: Optimizer, steps: range) -> None:
    from torch.distributed.tensor import DTensor, distribute_tensor

    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for parameter in network.parameters():
            gradient = torch.randn(parameter.shape, generator=generator)
            if isinstance(parameter, DTensor):
                gradient = distribute_tensor(gradient, parameter.device_mesh, parameter.placements)
            parameter.grad = gradient
        norm = whole(nn.utils.get_total_norm([p.grad for p in network.parameters()]))
        skip = torch.tensor(step == LEFT_OUT)
        before = [p.detach().clone() for p in network.parameters()]
        with clipped(optimizer, norm, 0.05), left_out(optimizer, skip):
            optimizer.step()
        same = (whole(p == old).all() for p, old in zip(network.parameters(), before, strict=True))
        assert all(same) is bool(skip)
        optimizer.zero_grad()


def values(network: nn.Module) -> list[Any]:
    return [whole(p.detach()).numpy().copy() for p in network.parameters()]


def steps_of_both(name: str) -> tuple[list[Any], list[Any]]:
    torch.distributed.init_process_group("gloo")
    results = []
    for network in (a_network(), sharded()):
        if name == "WithoutFolding":
            optimizer: Optimizer = WithoutFolding(network)
        else:
            optimizer = BUILDERS[name].build(network)
        assert divides_in_step(optimizer) == (name != "WithoutFolding")
        train(network, optimizer, range(4))
        results.append(values(network))
    return results[0], results[1]


def saved_and_loaded(name: str) -> tuple[list[Any], list[Any]]:
    torch.distributed.init_process_group("gloo")
    return gone_on(BUILDERS[name])


def gone_on(builder: OptimizerBuilder) -> tuple[list[Any], list[Any]]:
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        get_optimizer_state_dict,
        set_optimizer_state_dict,
    )

    first, second = sharded(), sharded()
    optimizer, its = builder.build(first), builder.build(second)
    train(first, optimizer, range(2))
    options = StateDictOptions(full_state_dict=True)
    # a copy, because torch hands out the very counters of the steps
    state = copy.deepcopy(get_optimizer_state_dict(first, optimizer, options=options))
    with torch.no_grad():
        for parameter, other in zip(first.parameters(), second.parameters(), strict=True):
            other.copy_(parameter)
    set_optimizer_state_dict(second, its, state, options=options)
    train(first, optimizer, range(2, 4))
    train(second, its, range(2, 4))
    return values(first), values(second)


@pytest.mark.parametrize("name", [*BUILDERS, "WithoutFolding"])
def test_sharded_parameters_make_the_clipped_steps_of_whole_ones(name: str) -> None:
    matrices = (1, 3) if name == "Muon" else ()
    for plain, cut in run_ranks(steps_of_both, name):
        for number, (one, other) in enumerate(zip(plain, cut, strict=True)):
            # multiplied in bfloat16, with the shards' products summed in another order
            atol = 4 * 0.05 * 0.2 * 12**0.5 / 64 if number in matrices else 1e-6
            torch.testing.assert_close(
                torch.from_numpy(other), torch.from_numpy(one), rtol=1e-6, atol=atol
            )


def named_steps_of_both() -> dict[str, tuple[list[Any], list[Any]]]:
    torch.distributed.init_process_group("gloo")
    results = {}
    for name, builder in NAMED.items():
        whole_one, cut = a_network(), sharded()
        for network in (whole_one, cut):
            train(network, builder.build(network), range(4))
        results[name] = values(whole_one), values(cut)
    return results


def named_saved_and_loaded() -> dict[str, tuple[list[Any], list[Any]]]:
    torch.distributed.init_process_group("gloo")
    return {name: gone_on(builder) for name, builder in NAMED.items()}


def test_those_of_torch_that_step_value_by_value_make_the_steps_of_whole_parameters() -> None:
    for told in run_ranks(named_steps_of_both):
        assert len(told) == len(ON_SHARDS)
        for name, (plain, cut) in told.items():
            for one, other in zip(plain, cut, strict=True):
                torch.testing.assert_close(
                    torch.from_numpy(other), torch.from_numpy(one), rtol=1e-6, atol=1e-6, msg=name
                )


def test_a_state_of_torchs_gathered_from_the_shards_goes_on_bitwise() -> None:
    for told in run_ranks(named_saved_and_loaded):
        for name, (first, second) in told.items():
            assert all((one == other).all() for one, other in zip(first, second, strict=True)), name


def last_losses(shards: Path, folder: Path, strategies: list[str]) -> list[float]:
    losses = []
    for strategy in strategies:
        config = tiny_config(shards, folder, max_steps=4, val_every_steps=0, strategy=strategy)
        config["model"]["init_args"]["optimizer"] = {
            "class_path": "roots.optim.TorchOptimizer",
            "init_args": {"name": "SGD", "learning_rate": 0.5, "arguments": {"momentum": 0.9}},
        }
        composed = compose(config)
        composed.fit()
        losses.append(float(composed.model.last_step.loss))
    return losses


def test_fits_with_one_of_torchs_follow_one_device(shards: Path, tmp_path: Path) -> None:
    (alone,) = last_losses(shards, tmp_path, ["single_device"])
    first, second = run_ranks(last_losses, shards, tmp_path, ["fsdp", "tensor_parallel"])
    assert first == second == pytest.approx([alone] * 2, rel=1e-5)
    assert alone < 5.3


@pytest.mark.parametrize("name", BUILDERS)
def test_a_state_gathered_from_the_shards_goes_on_bitwise(name: str) -> None:
    for first, second in run_ranks(saved_and_loaded, name):
        assert all((one == other).all() for one, other in zip(first, second, strict=True))
