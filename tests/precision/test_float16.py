"""Float16 with a moving loss scale, against torch's own GradScaler and by its definition."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from roots.errors import ConfigError
from roots.precision import FP16Mixed, precision_named

CPU = torch.device("cpu")


def scaled(plugin: FP16Mixed, loss: torch.Tensor) -> torch.Tensor:
    return loss * plugin.loss_scale


def norm_of_a_step(overflows: bool) -> torch.Tensor:
    return torch.tensor(torch.inf if overflows else 1.0)


@pytest.mark.parametrize("name", ["16-mixed", "16", "fp16"])
def test_its_names(name: str) -> None:
    plugin = precision_named(name, CPU)
    assert type(plugin) is FP16Mixed
    assert plugin.precision == "16-mixed"


def test_the_products_are_float16_on_a_cpu_too() -> None:
    """Lightning silently makes bfloat16 of it there."""
    layer, seen = nn.Linear(4, 4), []
    layer.register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    with FP16Mixed().forward_context():
        layer(torch.ones(2, 4)).sum().backward()
    assert seen == [torch.float16]
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32


@pytest.mark.parametrize(("interval", "growth", "backoff"), [(3, 2.0, 0.5), (2, 4.0, 0.25)])
def test_the_scale_moves_as_torchs(interval: int, growth: float, backoff: float) -> None:
    plugin = FP16Mixed(
        init_scale=1024.0, growth_factor=growth, backoff_factor=backoff, growth_interval=interval
    )
    theirs = torch.amp.GradScaler(
        "cpu",
        init_scale=1024.0,
        growth_factor=growth,
        backoff_factor=backoff,
        growth_interval=interval,
    )
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    scales = []
    for step in range(20):
        bad = step in (2, 3, 9, 17)
        theirs.scale(weight.sum() * (torch.inf if bad else 1.0)).backward()
        theirs.step(optimizer)
        theirs.update()
        optimizer.zero_grad()
        plugin.after_step(norm_of_a_step(bad))
        scales.append(plugin.loss_scale.item())
        assert scales[-1] == theirs.get_scale()
    assert len(set(scales)) >= 3


def test_unscaled_gradients_are_bitwise_those_without_a_scale() -> None:
    plugin = FP16Mixed(init_scale=4096.0)
    plain, other = nn.Linear(5, 3), nn.Linear(5, 3)
    other.load_state_dict(plain.state_dict())
    inputs = torch.randn(7, 5)
    plain(inputs).square().sum().backward()
    scaled(plugin, other(inputs).square().sum()).backward()
    plugin.unscale(other.parameters())
    for one, another in zip(plain.parameters(), other.parameters(), strict=True):
        assert torch.equal(one.grad, another.grad)


def test_its_state_is_plain_and_goes_on() -> None:
    plugin = FP16Mixed(init_scale=64.0, growth_interval=3)
    for bad in (False, True, False, False):
        plugin.after_step(norm_of_a_step(bad))
    state = plugin.state_dict()
    assert state == {"scale": 32.0, "held_for": 2}
    assert [type(value) for value in state.values()] == [float, int]
    other = FP16Mixed(init_scale=64.0, growth_interval=3)
    other.load_state_dict(state)
    other.after_step(norm_of_a_step(False))
    assert other.state_dict() == {"scale": 64.0, "held_for": 0}


@pytest.mark.parametrize(
    ("wrong", "cure", "message"),
    [
        ({"init_scale": 0.0}, {"init_scale": 1.0}, r"init_scale=0 .* above 0"),
        ({"growth_factor": 1.0}, {"growth_factor": 1.5}, r"growth_factor=1 .* above 1"),
        ({"backoff_factor": 1.0}, {"backoff_factor": 0.9}, r"backoff_factor=1 .* 0 and 1"),
        ({"growth_interval": 0}, {"growth_interval": 1}, r"growth_interval=0 .* 1 or more"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(wrong: dict, cure: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FP16Mixed(**wrong)
    FP16Mixed(**cure)


def test_a_device_it_was_not_tried_on_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"not tried on mps, only on cpu and cuda\. .* to auto"):
        precision_named("16-mixed", torch.device("mps"))
    precision_named("auto", torch.device("mps"))


def test_float16_weights_are_refused_with_the_cure() -> None:
    with pytest.raises(ConfigError, match=r"16-true would keep .* trainer\.precision to 16-mixed"):
        precision_named("16-true", CPU)
    precision_named("16-mixed", CPU)
