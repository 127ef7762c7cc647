"""Optimizers by their name against a plain loop with the class itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from roots.errors import CheckpointError, ConfigError
from roots.optim import AdamW, MasterWeights, TorchOptimizer, clipped
from roots.optim.of_torch import ON_SHARDS
from roots.strategies import gradient_norm

NAMED: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9, "nesterov": True},
    "Adamax": {"betas": [0.8, 0.95]},
    "Adafactor": {"d": 2.0},
    "RMSprop": {"centered": True, "momentum": 0.5},
    "Adagrad": {"initial_accumulator_value": 0.1},
}


def a_network(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(9, 6), nn.LayerNorm(6), nn.Linear(6, 5)).to(dtype)


def give_gradients(module: nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


def train(module: nn.Module, optimizer: Any, steps: range) -> None:
    for step in steps:
        give_gradients(module, step)
        with clipped(optimizer, gradient_norm(module.parameters()), 2.0):
            optimizer.step()


@pytest.mark.parametrize("name", NAMED)
def test_its_steps_are_those_of_a_plain_loop_with_the_class(name: str) -> None:
    """The matrix of the linear layer is decayed and nothing else; gradients are clipped."""
    builder = TorchOptimizer(name=name, learning_rate=0.05, weight_decay=0.3, arguments=NAMED[name])
    ours, theirs = a_network(), a_network()
    train(ours, builder.build(ours), range(5))
    weights = dict(theirs.named_parameters())
    matrix = weights.pop("2.weight")
    plain = getattr(torch.optim, name)(
        [{"params": [matrix], "weight_decay": 0.3}, {"params": list(weights.values())}],
        lr=0.05,
        weight_decay=0.0,
        **NAMED[name],
    )
    for step in range(5):
        give_gradients(theirs, step)
        assert nn.utils.clip_grad_norm_(theirs.parameters(), 2.0) > 2
        plain.step()
    for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-7)
    start = a_network()
    assert not torch.allclose(ours[2].weight, start[2].weight, atol=1e-3)


@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize("name", NAMED)
def test_a_saved_state_goes_on_bitwise(tmp_path: Path, name: str, low: bool) -> None:
    builder = TorchOptimizer(name=name, learning_rate=0.05, weight_decay=0.3, arguments=NAMED[name])

    def made(start: dict[str, Any] | None = None) -> tuple[nn.Module, Any]:
        module = a_network(torch.bfloat16 if low else torch.float32)
        module.load_state_dict(start or module.state_dict())
        optimizer = builder.build(module)
        return module, MasterWeights(optimizer) if low else optimizer

    whole, its = made()
    train(whole, its, range(6))
    half, optimizer = made()
    train(half, optimizer, range(3))
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    went_on, second = made(half.state_dict())
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for group in second.param_groups:
        group.update(builder.settings(group))
    train(went_on, second, range(3, 6))
    for mine, its_own in zip(went_on.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, its_own)


def test_settings_of_a_flag_win_over_those_of_a_checkpoint() -> None:
    before = TorchOptimizer(name="SGD", weight_decay=0.1, arguments={"momentum": 0.9})
    module = a_network()
    state = before.build(module).state_dict()
    after = TorchOptimizer(name="SGD", weight_decay=0.2, arguments={"momentum": 0.5})
    optimizer = after.build(module)
    optimizer.load_state_dict(state)
    for group in optimizer.param_groups:
        group.update(after.settings(group))
    told = {g["name"]: (g["momentum"], g["weight_decay"]) for g in optimizer.param_groups}
    assert told == {"decayed_sgd": (0.5, 0.2), "undecayed_sgd": (0.5, 0.0)}


@pytest.mark.parametrize("name", [*(cls.__name__ for cls in ON_SHARDS), "Adafactor", "Rprop"])
def test_its_state_has_as_many_bytes_as_it_says(name: str) -> None:
    for arguments in ({}, NAMED.get(name, {})):
        builder = TorchOptimizer(name=f"torch.optim.{name}", arguments=arguments)
        module = nn.Sequential(a_network(), nn.Conv2d(3, 4, 5))
        optimizer = builder.build(module)
        give_gradients(module, 0)
        optimizer.step()
        kept = [t for own in optimizer.state.values() for t in own.values()]
        assert builder.state_bytes(module.to("meta")) == sum(
            t.nbytes for t in kept if isinstance(t, torch.Tensor) and t.ndim
        )
        assert builder.works_sharded == (name not in ("Adafactor", "Rprop"))


def test_a_class_of_ones_own_that_hands_its_arguments_on_is_decayed_and_set_as_torchs() -> None:
    """Its signature has no weight decay, and its groups have one."""
    given = {"speed": 2.0, "momentum": 0.9}
    builder = TorchOptimizer(name=MINE, learning_rate=0.1, weight_decay=0.3, arguments=given)
    optimizer = builder.build(a_network())
    for group in optimizer.param_groups:
        assert builder.settings(group) == {
            "momentum": 0.9,
            "weight_decay": 0.3 if group["name"] == "decayed_ofmine" else 0.0,
        }
        assert group["weight_decay"] == builder.settings(group)["weight_decay"]


def test_another_optimizers_state_is_refused() -> None:
    module = a_network()
    sgd = TorchOptimizer(name="SGD", arguments={"momentum": 0.9}).build(module)
    for other in (AdamW(), TorchOptimizer(name="Adamax")):
        with pytest.raises(CheckpointError, match=r"decayed.*, and this run's has decayed_sgd, un"):
            sgd.load_state_dict(other.build(module).state_dict())


def test_a_state_that_lacks_what_the_arguments_ask_for_is_refused() -> None:
    module = a_network()
    plain = TorchOptimizer(name="Adam").build(module)
    give_gradients(module, 0)
    plain.step()
    other = TorchOptimizer(name="Adam", arguments={"amsgrad": True}).build(module)
    with pytest.raises(CheckpointError, match=r"Adam has no max_exp_avg_sq, which .*arguments as"):
        other.load_state_dict(plain.state_dict())
    TorchOptimizer(name="Adam").build(module).load_state_dict(plain.state_dict())


class Bare(Optimizer):
    def __init__(self, params: Any) -> None:
        super().__init__(params, {})


class OfMine(torch.optim.SGD):
    def __init__(self, params: Any, lr: float, *, speed: float, **others: Any) -> None:
        super().__init__(params, lr * speed, **others)


class Rateless(Bare):
    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params)
        self.rate = lr

    def step(self, closure: Any = None) -> None:
        """Steps by a rate that no schedule can set."""


MINE = f"{__name__}.OfMine"


@pytest.mark.parametrize(
    ("wrong", "words", "cure"),
    [
        ({"name": "SDG"}, r"'SDG', which is not there \(did you mean 'SGD'", {"name": "SGD"}),
        ({"name": "torch.optim.Optimizer"}, r"is no torch\.optim\.Optimizer.*SGD", {"name": "SGD"}),
        ({"name": "torch.nn.Linear"}, r"is no torch\.optim\.Optimizer", {"name": "SGD"}),
        ({"name": "not_there.Lion"}, r"not_there cannot be imported", {"name": MINE}),
        (
            {"arguments": {"momentun": 0.9}},
            r"no argument 'momentun' \(did you mean 'momentum'\?\); it has dampening, ",
            {"arguments": {"momentum": 0.9}},
        ),
        ({"arguments": {"lr": 0.1}}, r"Set model\.optimizer\.learning_rate", {"learning_rate": 1}),
        ({"arguments": {"weight_decay": 0.1}}, r"model\.optimizer\.weight_decay", {}),
        ({"arguments": {"momentum": -1}}, r"momentum=-1\): Invalid momentum value: -1", {}),
        ({"arguments": {"nesterov": True}}, r"requires a momentum", {"arguments": {"momentum": 1}}),
        ({"name": "Rprop", "weight_decay": 0.1}, r"decays no weights.*=0\.1", {"weight_decay": 0}),
        ({"name": "LBFGS"}, r"takes a closure.*SGD", {"name": "SGD"}),
        ({"name": "SparseAdam"}, r"does not support dense gradients", {"name": "Adam"}),
        ({"name": "torch.optim.Muon"}, r"only supports 2D.*roots\.optim has", {"name": "Adam"}),
        ({"name": f"{__name__}.Bare"}, r"Bare has no rate lr", {"name": MINE}),
        ({"name": f"{__name__}.Rateless"}, r"Rateless has no rate lr", {"name": MINE}),
        ({"name": MINE, "arguments": {}}, r"missing .*'speed'", {"arguments": {"speed": 2.0}}),
        ({"learning_rate": -1.0}, r"learning_rate=-1", {"learning_rate": 1.0}),
        ({"weight_decay": math.nan}, r"weight_decay=nan", {"weight_decay": 1.0}),
    ],
)
def test_what_cannot_work_is_refused(
    wrong: dict[str, Any], words: str, cure: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=words):
        TorchOptimizer(**{"name": "SGD", **wrong})
    right = {"name": "SGD", **wrong, **cure}
    if right["name"] == MINE:
        right["arguments"] = {"speed": 2.0, "momentum": 0.5}
    elif "arguments" not in cure:
        right.pop("arguments", None)
    assert TorchOptimizer(**right).build(a_network()).param_groups[0]["lr"] >= 0


class OnlyHere(torch.optim.SGD):
    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr)
        if any(p.is_meta for group in self.param_groups for p in group["params"]):
            raise RuntimeError("no meta tensors")


def test_what_refuses_the_networks_device_says_so_when_it_is_built() -> None:
    builder = TorchOptimizer(name=f"{__name__}.OnlyHere")
    with pytest.raises(ConfigError, match=r"OnlyHere refuses .*\(arguments: none\): no meta"):
        builder.build(a_network().to("meta"))
    builder.build(a_network())
