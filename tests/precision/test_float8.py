"""8-bit products: which layers make them, how exact they are, and that no split changes them."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch
from tiny import LLAMA
from torch import Tensor, nn

from roots.errors import ConfigError, MissingExtra
from roots.networks import Scratch
from roots.precision import FP8Mixed, precision_named

needs_torchao = pytest.mark.skipif(
    importlib.util.find_spec("torchao") is None,
    reason="needs the package torchao: make test-fp8",
)
CPU = torch.device("cpu")
RECIPES = ("rowwise_with_gw_hp", "rowwise", "tensorwise")
FITTING = {**LLAMA, "vocab_size": 40}
E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2


def llama(**changes: Any) -> nn.Module:
    return Scratch(config={**FITTING, **changes}).build(None, seed=1, device=CPU)


@pytest.mark.skipif(importlib.util.find_spec("torchao") is not None, reason="torchao is installed")
def test_without_the_package_the_install_line_is_told() -> None:
    with pytest.raises(MissingExtra, match=r"needs the package torchao.*roots-lm\[fp8\].*bf16-mix"):
        precision_named("fp8", CPU)


def test_an_unknown_recipe_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'row_wise'.*mean 'rowwise'"):
        FP8Mixed(recipe="row_wise")  # type: ignore[arg-type]


@needs_torchao
@pytest.mark.parametrize("name", ["fp8", "fp8-mixed"])
def test_it_has_a_name_and_a_short_one(name: str) -> None:
    plugin = precision_named(name, CPU)
    assert (type(plugin), plugin.precision) == (FP8Mixed, "fp8-mixed")


@needs_torchao
@pytest.mark.parametrize("capability", [(8, 0), (7, 5)])
def test_a_gpu_without_units_is_refused(monkeypatch, capability: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100-SXM4-40GB")
    with pytest.raises(ConfigError, match=r"8\.9 or higher.*A100-SXM4-40GB has none.*to auto"):
        FP8Mixed().use_device(torch.device("cuda", 0))


@needs_torchao
@pytest.mark.parametrize("capability", [(8, 9), (9, 0), (10, 0)])
def test_a_gpu_with_units_is_taken(monkeypatch, capability: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    FP8Mixed().use_device(torch.device("cuda", 0))


@needs_torchao
def test_layers_of_blocks_multiply_in_8_bits_and_all_names_and_weights_stay() -> None:
    network = llama()
    before = dict(network.named_parameters())
    modules = dict(network.named_modules())
    FP8Mixed().convert_module(network)
    kinds = {name: type(m).__name__ for name, m in network.named_modules()}
    low = {name for name, kind in kinds.items() if kind == "Linear8"}
    assert low == {
        f"model.layers.{n}.{part}"
        for n in (0, 1)
        for part in (
            *(f"self_attn.{p}_proj" for p in "qkvo"),
            *(f"mlp.{p}_proj" for p in ("gate", "up", "down")),
        )
    }
    assert kinds["lm_head"] == "Linear"
    assert all(network.get_submodule(name) is m for name, m in modules.items() if name)
    after = dict(network.named_parameters())
    assert after.keys() == before.keys()
    assert all(after[name] is p for name, p in before.items())


@needs_torchao
def test_twice_is_once() -> None:
    network = FP8Mixed().convert_module(llama())
    kinds = [type(m) for m in network.modules()]
    FP8Mixed().convert_module(network)
    assert [k.__name__ for k in kinds] == [type(m).__name__ for m in network.modules()]


@needs_torchao
def test_layers_of_other_sizes_keep_bfloat16_and_a_network_of_none_else_is_refused() -> None:
    some = FP8Mixed().convert_module(llama(intermediate_size=40))
    kinds = {name: type(m).__name__ for name, m in some.named_modules()}
    assert kinds["model.layers.0.mlp.up_proj"] == "Linear"
    assert kinds["model.layers.0.self_attn.q_proj"] == "Linear8"
    odd = llama(hidden_size=24, intermediate_size=40, head_dim=12)
    with pytest.raises(ConfigError, match=r"multiples of 16; those of the blocks are 24 x 24, "):
        FP8Mixed().convert_module(odd)
    gpt2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 2, "vocab_size": 40}
    without = Scratch(config=gpt2).build(None, seed=1, device=CPU)
    with pytest.raises(ConfigError, match=r"those of the blocks are none at all"):
        FP8Mixed().convert_module(without)


def rounded(x: Tensor, over: tuple[int, ...] | None, kind: torch.dtype, powers: bool) -> Tensor:
    """Values as 8 bits hold them: by definition, in float64, one scale for what is summed over."""
    x = x.double()
    top = x.abs().amax() if over is None else x.abs().amax(over, keepdim=True)
    scale = torch.finfo(kind).max / top.clamp(min=1e-12)
    if powers:
        scale = torch.exp2(torch.floor(torch.log2(scale)))
    return (x * scale).to(torch.float32).to(kind).double() / scale


@needs_torchao
@pytest.mark.parametrize("tokens", [32, 21])
@pytest.mark.parametrize("recipe", RECIPES)
def test_products_are_those_of_rounded_numbers(recipe: Any, tokens: int) -> None:
    torch.manual_seed(3)
    network = llama()
    layer = network.model.layers[0].mlp.down_proj  # 64 to 32
    FP8Mixed(recipe=recipe).convert_module(network)
    x = (torch.randn(tokens, 64) * torch.logspace(-1, 1, tokens)[:, None]).bfloat16()
    x.requires_grad_()
    g = torch.randn(tokens, 32).bfloat16()
    y = layer(x)
    y.backward(g)
    w = layer.weight.detach()
    rows = recipe != "tensorwise"

    def eight(t: Tensor, over: tuple[int, ...], kind: torch.dtype = E4M3) -> Tensor:
        return rounded(t.detach(), over if rows else None, kind, rows)

    back = E4M3 if rows else E5M2
    whole = recipe == "rowwise_with_gw_hp"
    w_back = rounded(w, None, E4M3, True) if whole else eight(w, (0,))
    forward = eight(x, (1,)) @ eight(w, (1,)).T
    to_input = eight(g, (1,), back) @ w_back
    to_weight = (
        g.double().T @ x.detach().double() if whole else eight(g, (0,), back).T @ eight(x, (0,))
    )
    assert y.dtype == torch.bfloat16
    for ours, exact in ((y, forward), (x.grad, to_input), (layer.weight.grad, to_weight)):
        assert torch.allclose(
            ours.double(), exact, rtol=2**-8, atol=2e-3 * float(exact.abs().max())
        )


@needs_torchao
def test_the_loss_is_near_that_of_float32_and_the_gradient_points_there() -> None:
    tokens = torch.randint(0, 40, (4, 16), generator=torch.Generator().manual_seed(2))
    exact, low = llama(), FP8Mixed().convert_module(llama())
    found = []
    for network, plugin in ((exact, None), (low, FP8Mixed())):
        if plugin is None:
            loss = network(tokens, labels=tokens).loss
        else:
            with plugin.forward_context():
                loss = network(tokens, labels=tokens).loss
        loss.backward()
        found.append((loss.item(), torch.cat([p.grad.flatten() for p in network.parameters()])))
    (a, grad), (b, grad8) = found
    assert b == pytest.approx(a, rel=5e-3)
    assert torch.cosine_similarity(grad, grad8, dim=0) > 0.99
    assert not torch.equal(grad, grad8)
