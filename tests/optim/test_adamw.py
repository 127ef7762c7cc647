"""AdamW against its definition in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from roots.errors import CheckpointError, ConfigError
from roots.optim import AdamW, Muon, clipped
from roots.optim.adamw import has_fused_adamw

SETTINGS = {"learning_rate": 0.02, "weight_decay": 0.3, "beta1": 0.8, "beta2": 0.93, "eps": 1e-6}


def a_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(6, 5), nn.LayerNorm(5), nn.Linear(5, 6))


def gradients(step: int, module: nn.Module) -> list[Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(p.shape, generator=generator) for p in module.parameters()]


def by_definition(module: nn.Module, steps: int, rates: list[float]) -> list[Tensor]:
    """Loshchilov & Hutter, algorithm 2, the decay scaled by the rate as in torch; float64."""
    decayed = module[2].weight
    values = []
    for index, parameter in enumerate(module.parameters()):
        w = parameter.detach().double().clone()
        m, v = torch.zeros_like(w), torch.zeros_like(w)
        decay = SETTINGS["weight_decay"] if parameter is decayed else 0.0
        for step in range(1, steps + 1):
            g = gradients(step, module)[index].double()
            m = SETTINGS["beta1"] * m + (1 - SETTINGS["beta1"]) * g
            v = SETTINGS["beta2"] * v + (1 - SETTINGS["beta2"]) * g**2
            m_hat = m / (1 - SETTINGS["beta1"] ** step)
            v_hat = v / (1 - SETTINGS["beta2"] ** step)
            w = w - rates[step - 1] * (m_hat / (v_hat.sqrt() + SETTINGS["eps"]) + decay * w)
        values.append(w)
    return values


def test_five_steps_are_the_definition() -> None:
    module = a_network()
    rates = [0.02, 0.01, 0.02, 0.005, 0.04]
    expected = by_definition(module, 5, rates)
    optimizer = AdamW(**SETTINGS).build(module)
    for step, rate in enumerate(rates, start=1):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for parameter, gradient in zip(module.parameters(), gradients(step, module), strict=True):
            parameter.grad = gradient
        optimizer.step()
    for parameter, value in zip(module.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.detach().double(), value, rtol=1e-6, atol=1e-6)


def test_the_first_step_moves_each_weight_by_the_rate_whatever_the_gradient() -> None:
    module = nn.Linear(3, 3, bias=False)
    before = module.weight.detach().clone()
    optimizer = AdamW(learning_rate=0.01, weight_decay=0.0).build(module)
    module.weight.grad = 1e3 * torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    moved = (module.weight.detach() - before).abs()
    torch.testing.assert_close(moved, torch.full((3, 3), 0.01), rtol=1e-4, atol=0)


def test_built_groups_carry_every_setting() -> None:
    groups = AdamW(**SETTINGS).build(a_network()).param_groups
    assert [(g["name"], g["weight_decay"]) for g in groups] == [("decayed", 0.3), ("undecayed", 0)]
    for group in groups:
        assert (group["lr"], group["betas"], group["eps"]) == (0.02, (0.8, 0.93), 1e-6)


def test_settings_are_what_build_sets_the_rate_aside() -> None:
    builder = AdamW(**SETTINGS)
    for group in builder.build(a_network()).param_groups:
        asked = builder.settings(group)
        assert asked == {name: group[name] for name in ("weight_decay", "betas", "eps")}


def test_changed_settings_win_over_those_of_a_checkpoint() -> None:
    module = a_network()
    old = AdamW(weight_decay=0.1).build(module).state_dict()
    changed = AdamW(weight_decay=0.5, beta2=0.99)
    optimizer = changed.build(module)
    optimizer.load_state_dict(old)
    for group in optimizer.param_groups:
        group.update(changed.settings(group))
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.5, 0.0]
    assert [g["betas"] for g in optimizer.param_groups] == [(0.9, 0.99)] * 2


def test_its_state_has_as_many_bytes_as_it_says() -> None:
    module = a_network()
    builder = AdamW()
    optimizer = builder.build(module)
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    tensors = [v for state in optimizer.state.values() for v in state.values() if v.ndim]
    assert sum(v.nbytes for v in tensors) == builder.state_bytes(module) == 8 * 76
    assert builder.state_bytes(a_network().to("meta")) == builder.state_bytes(module)


# -- the implementation ------------------------------------------------------------------------


def test_it_is_fused_where_the_device_has_the_kernel() -> None:
    assert AdamW().build(a_network()).defaults["fused"] is True
    assert has_fused_adamw(torch.device("cpu"), torch.bfloat16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_where_there_is_no_fused_kernel_torch_chooses(dtype: torch.dtype) -> None:
    device = torch.device("meta" if dtype == torch.float32 else "cpu")
    assert not has_fused_adamw(device, dtype)
    module = nn.Linear(3, 3, device=device, dtype=dtype)
    optimizer = AdamW().build(module)
    assert optimizer.defaults["fused"] is None
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    if device.type == "cpu":
        optimizer.step()


def without_a_fused_kernel(monkeypatch: pytest.MonkeyPatch, module: nn.Module) -> Any:
    monkeypatch.setattr("roots.optim.adamw.has_fused_adamw", lambda *_: False)
    return AdamW(**SETTINGS).build(module)


def test_with_and_without_a_fused_kernel_the_steps_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = a_network(), a_network()
    pairs = [
        (ours, AdamW(**SETTINGS).build(ours)),
        (theirs, without_a_fused_kernel(monkeypatch, theirs)),
    ]
    for step in range(3):
        for module, optimizer in pairs:
            for parameter, gradient in zip(
                module.parameters(), gradients(step, module), strict=True
            ):
                parameter.grad = gradient
            optimizer.step()
    for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("fused_first", [True, False])
def test_a_run_goes_on_where_the_other_implementation_is_needed(
    monkeypatch: pytest.MonkeyPatch, fused_first: bool
) -> None:
    """A checkpoint names torch's implementation; that of the device it is loaded on counts."""
    module = a_network()
    fused, unfused = AdamW(**SETTINGS).build(module), without_a_fused_kernel(monkeypatch, module)
    old, new = (fused, unfused) if fused_first else (unfused, fused)
    for optimizer in (old, new):
        for parameter, gradient in zip(module.parameters(), gradients(0, module), strict=True):
            parameter.grad = gradient
        optimizer.load_state_dict(old.state_dict())
        with clipped(optimizer, torch.tensor(9.0), 1.0):
            optimizer.step()
    assert {g["fused"] for g in new.param_groups} == {None if fused_first else True}
    assert all(int(state["step"]) == 2 for state in new.state.values())


def test_the_state_of_another_optimizer_is_refused() -> None:
    module = a_network()
    state = Muon().build(module).state_dict()
    with pytest.raises(
        CheckpointError, match=r"groups matrices, undecayed, .* has decayed, undecayed"
    ):
        AdamW().build(module).load_state_dict(state)
    Muon().build(module).load_state_dict(state)


# -- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "eps"])
def test_a_negative_setting_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}=-0\.5 is negative\. Set it to 0 or more"):
        AdamW(**{name: -0.5})
    AdamW(**{name: 0})


@pytest.mark.parametrize("name", ["beta1", "beta2"])
@pytest.mark.parametrize("value", [-0.1, 1.0, math.inf])
def test_a_beta_that_is_no_decay_rate_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"{name}={value:g} .* at least 0 and less than 1"):
        AdamW(**{name: value})
    AdamW(**{name: 0})
    AdamW(**{name: 0.999})
