"""8-bit AdamW against AdamW."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from roots.errors import ConfigError, MissingExtra
from roots.optim import AdamW, AdamW8bit, MasterWeights, clipped
from roots.strategies import gradient_norm

pytest.importorskip("bitsandbytes")
SETTINGS: dict[str, float] = {
    "learning_rate": 0.01,
    "weight_decay": 0.3,
    "beta1": 0.8,
    "beta2": 0.9,
    "eps": 1e-6,
}


def a_network(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Embedding(80, 64), nn.LayerNorm(64), nn.Linear(64, 100), nn.Linear(100, 9)
    ).to(dtype)


def give_gradients(module: nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


def stepped(builder: AdamW, steps: int, clip_norm: float = 1e9) -> nn.Module:
    module = a_network()
    optimizer = builder.build(module)
    for step in range(steps):
        give_gradients(module, step)
        with clipped(optimizer, gradient_norm(module.parameters()), clip_norm):
            optimizer.step()
    return module


def values(module: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def test_only_large_matrices_that_are_no_embeddings_have_8_bit_state() -> None:
    groups = AdamW8bit().build(a_network()).param_groups
    shapes = {g["name"]: [tuple(p.shape) for p in g["params"]] for g in groups}
    assert shapes == {
        "decayed_8bit": [(100, 64)],
        "decayed": [(9, 100)],
        "undecayed": [(80, 64), (64,), (64,), (100,), (9,)],
    }


def test_one_step_is_adamws() -> None:
    """The moments are rounded when they are stored, so the first step uses exact ones."""
    ours, theirs = stepped(AdamW8bit(**SETTINGS), 1), stepped(AdamW(**SETTINGS), 1)
    for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("clip_norm", [1e9, 1.0])
def test_ten_steps_are_adamws_within_the_rounding_of_the_moments(clip_norm: float) -> None:
    ours = stepped(AdamW8bit(**SETTINGS), 10, clip_norm)
    theirs = stepped(AdamW(**SETTINGS), 10, clip_norm)
    start = a_network()
    for (name, mine), its in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        if name != "2.weight":
            assert torch.equal(mine, its), name
    moved = (theirs[2].weight - start[2].weight).norm()
    error = (ours[2].weight - theirs[2].weight).norm()
    assert 0 < error < 0.05 * moved


def saved_and_loaded(optimizer: Any, path: Path) -> Any:
    torch.save(optimizer.state_dict(), path)
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("low", [False, True])
def test_a_saved_state_goes_on_bitwise(tmp_path: Path, low: bool) -> None:
    def made(start: dict[str, Any] | None = None) -> tuple[nn.Module, Any]:
        module = a_network(torch.bfloat16 if low else torch.float32)
        module.load_state_dict(start or module.state_dict())
        optimizer = AdamW8bit(**SETTINGS).build(module)
        return module, MasterWeights(optimizer) if low else optimizer

    def train(module: nn.Module, optimizer: Any, steps: range) -> None:
        for step in steps:
            give_gradients(module, step)
            optimizer.step()

    whole, its = made()
    train(whole, its, range(6))
    half, optimizer = made()
    train(half, optimizer, range(3))
    state = saved_and_loaded(optimizer, tmp_path / "state.pt")
    went_on, second = made(half.state_dict())
    second.load_state_dict(state)
    train(went_on, second, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(values(went_on), values(whole), strict=True))


def test_its_state_has_as_many_bytes_as_it_says() -> None:
    module = a_network()
    optimizer = AdamW8bit().build(module)
    give_gradients(module, 0)
    optimizer.step()
    kept = [
        value
        for state in optimizer.state.values()
        for name, value in state.items()
        if isinstance(value, Tensor) and value.ndim and not name.startswith("qmap")
    ]
    large, rest = 100 * 64, 9 * 100 + 80 * 64 + 64 + 64 + 100 + 9
    said = AdamW8bit().state_bytes(module)
    assert sum(v.nbytes for v in kept) == said == 2 * large + 8 * large // 256 + 8 * rest
    assert AdamW8bit().state_bytes(a_network().to("meta")) == said


def test_settings_are_what_build_sets_also_for_the_8_bit_group() -> None:
    builder = AdamW8bit(**SETTINGS)
    groups = builder.build(a_network()).param_groups
    for group in groups:
        settings = builder.settings(group)
        assert {name: group[name] for name in settings} == settings
        assert group["lr"] == builder.peak_rate(group) == 0.01
    assert [g["weight_decay"] for g in groups] == [0.3, 0.3, 0.0]


def test_a_network_without_a_large_matrix_is_refused_and_adamw_is_the_cure() -> None:
    module = nn.Sequential(nn.Embedding(200, 63), nn.Linear(63, 65))
    with pytest.raises(ConfigError, match=r"4,096 values or more, .* has 4,095") as told:
        AdamW8bit().build(module)
    assert "roots.optim.AdamW" in str(told.value)
    AdamW().build(module)
    AdamW8bit().build(nn.Linear(64, 64))


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    builder = AdamW8bit()  # a checkpoint's settings can be read without the package
    with pytest.raises(MissingExtra, match=r"pip install 'roots-lm\[bitsandbytes\]'") as told:
        builder.build(a_network())
    assert "roots.optim.AdamW" in str(told.value)
    AdamW().build(a_network())


@pytest.mark.parametrize("name", ["learning_rate", "beta2"])
def test_settings_outside_their_range_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}=-1 "):
        AdamW8bit(**{name: -1})
    AdamW8bit(**{name: 0})
