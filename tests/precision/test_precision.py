"""Precision by name, and what each makes of a network."""

from __future__ import annotations

import platform
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

from roots.errors import ConfigError
from roots.networks import Scratch
from roots.precision import (
    PRECISIONS,
    BF16Mixed,
    BF16True,
    Float32,
    multiplies_bfloat16,
    precision_named,
)

CPU = torch.device("cpu")
HERE = [name for name in PRECISIONS if name != "fp8-mixed" or find_spec("torchao")]
LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 40,
}


def llama() -> nn.Module:
    return Scratch(config=LLAMA).build(None, seed=1, device=CPU)


@pytest.mark.parametrize(
    ("name", "kind", "lightnings_name"),
    [
        ("32", Float32, "32-true"),
        ("32-true", Float32, "32-true"),
        ("fp32", Float32, "32-true"),
        ("bf16-mixed", BF16Mixed, "bf16-mixed"),
        ("bf16", BF16Mixed, "bf16-mixed"),
        ("bf16-true", BF16True, "bf16-true"),
    ],
)
def test_a_name_makes_a_plugin(name: str, kind: type, lightnings_name: str) -> None:
    plugin = precision_named(name, CPU)
    assert type(plugin) is kind
    assert plugin.precision == lightnings_name


def test_auto_is_bf16_mixed_where_the_device_multiplies_bfloat16_else_float32() -> None:
    expected = BF16Mixed if multiplies_bfloat16(CPU) else Float32
    assert type(precision_named("auto", CPU)) is expected


@pytest.mark.parametrize("has_units", [True, False])
def test_auto_asks_the_device(monkeypatch: pytest.MonkeyPatch, has_units: bool) -> None:
    monkeypatch.setattr("roots.precision.plugins.multiplies_bfloat16", lambda _: has_units)
    assert type(precision_named("auto", CPU)) is (BF16Mixed if has_units else Float32)


@pytest.mark.skipif(
    platform.system() != "Linux" or platform.machine() != "x86_64",
    reason="reads /proc/cpuinfo of an x86 processor",
)
def test_the_processors_own_flags_say_the_same() -> None:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = {flag for line in lines if line.startswith("flags") for flag in line.split()}
    assert multiplies_bfloat16(CPU) is bool(flags & {"avx512_bf16", "amx_tile"})


def test_a_device_of_an_unknown_kind_has_no_such_units() -> None:
    assert multiplies_bfloat16(torch.device("mps")) is False


def test_mixed_precision_is_told_its_device() -> None:
    assert precision_named("bf16-mixed", CPU).device == "cpu"  # type: ignore[attr-defined]
    cuda = precision_named("bf16-mixed", torch.device("cuda", 1))
    assert cuda.device == "cuda"  # type: ignore[attr-defined]


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"no precision 'bf61'\. .* auto, 32, bf16-mixed, bf16-true, 16-mixed"
    ):
        precision_named("bf61", CPU)
    for name in ("auto", *HERE):
        precision_named(name, CPU)


def test_bf16_true_rounds_parameters_and_leaves_the_rotary_frequencies() -> None:
    network, exact = llama(), llama()
    BF16True().convert_module(network)
    exact_values, exact_buffers = dict(exact.named_parameters()), dict(exact.named_buffers())
    for name, parameter in network.named_parameters():
        assert parameter.dtype == torch.bfloat16, name
        assert torch.equal(parameter, exact_values[name].to(torch.bfloat16)), name
    assert dict(network.named_buffers()).keys() == exact_buffers.keys()
    for name, buffer in network.named_buffers():
        assert buffer.dtype == torch.float32, name
        assert torch.equal(buffer, exact_buffers[name]), name


def test_bf16_true_keeps_tied_weights_tied_and_integers_as_they_are() -> None:
    network = nn.Module()
    network.a = nn.Linear(3, 3)
    network.b = nn.Linear(3, 3)
    network.b.weight = network.a.weight
    network.count = nn.Parameter(torch.arange(3), requires_grad=False)
    BF16True().convert_module(network)
    assert network.a.weight is network.b.weight
    assert network.a.weight.dtype == torch.bfloat16
    assert network.count.dtype == torch.int64


def test_float32_and_mixed_leave_the_network_as_it_is() -> None:
    for plugin in (Float32(), BF16Mixed()):
        network = plugin.convert_module(llama())
        assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_under_mixed_precision_products_are_bfloat16_and_gradients_float32() -> None:
    network = llama()
    with BF16Mixed().forward_context():
        logits = network(torch.arange(8)[None]).logits
    assert logits.dtype == torch.bfloat16
    logits.float().logsumexp(-1).sum().backward()
    assert {p.grad.dtype for p in network.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", HERE)
def test_all_precisions_give_about_the_same_logits(name: str) -> None:
    plugin, tokens = precision_named(name, CPU), torch.arange(8)[None]
    exact = llama()(tokens).logits
    network = plugin.convert_module(llama())
    with plugin.forward_context():
        logits = network(tokens).logits.float()
    assert (logits - exact).abs().max() < 0.03 * exact.abs().max()
