"""AdamW against its definition in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from roots.errors import ConfigError
from roots.optim import AdamW

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


def test_it_keeps_as_many_values_per_parameter_as_it_says() -> None:
    module = nn.Linear(4, 4, bias=False)
    builder = AdamW()
    optimizer = builder.build(module)
    module.weight.grad = torch.ones(4, 4)
    optimizer.step()
    state = optimizer.state[module.weight]
    assert sum(v.numel() == 16 for v in state.values()) == builder.state_values == 2


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
