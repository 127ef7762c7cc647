"""Tiled attention is attention: against the definition, torch's own, and what causal means."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from roots.errors import ConfigError
from roots.networks import Scratch
from roots.networks.tiled import tiled_attention, tiled_attention_forward
from roots.records import Vocabulary

VOCABULARY = Vocabulary(size=96, eos_id=0, bos_id=0)
FAMILIES = {
    "llama": {"hidden_size": 32, "intermediate_size": 48, "num_key_value_heads": 2},
    "gpt2": {
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "attn_pdrop": 0,
        "resid_pdrop": 0,
        "embd_pdrop": 0,
    },
    "qwen3": {"hidden_size": 32, "intermediate_size": 48, "num_key_value_heads": 1, "head_dim": 8},
}


def by_definition(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """The softmax of all scores, those ahead left out, in one piece."""
    key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
    scores = torch.einsum("bhtk,bhsk->bhts", query, key) * scale
    ahead = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).triu(1)
    return torch.einsum("bhts,bhsk->bthk", scores.masked_fill(ahead, -math.inf).softmax(-1), value)


def made(heads: int, groups: int, length: int, width: int, value_width: int, **how) -> list[Tensor]:
    """Queries, keys and values of two sequences."""
    generator = torch.Generator().manual_seed(3)
    sizes = (
        (2, heads * groups, length, width),
        (2, heads, length, width),
        (2, heads, length, value_width),
    )
    return [
        torch.randn(size, generator=generator, dtype=torch.float64)
        .to(how.get("dtype", torch.float64))
        .requires_grad_()
        for size in sizes
    ]


@pytest.mark.parametrize("tile", [1, 3, 8, 13, 64])
@pytest.mark.parametrize("groups", [1, 3])
def test_value_and_gradients_are_those_of_the_definition(tile: int, groups: int) -> None:
    inputs = made(2, groups, 13, 4, 5)
    ours = tiled_attention(*inputs, scale=0.3, tile=tile)
    plain = by_definition(*inputs, scale=0.3)
    weights = torch.randn(plain.shape, dtype=torch.float64)
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
    by_ours = torch.autograd.grad((ours * weights).sum(), inputs)
    by_plain = torch.autograd.grad((plain * weights).sum(), inputs)
    for one, other in zip(by_ours, by_plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    inputs = made(1, 2, 5, 3, 2)
    assert torch.autograd.gradcheck(lambda *x: tiled_attention(*x, scale=0.5, tile=2), inputs)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 2e-2)])
def test_it_is_as_exact_as_torchs_own(dtype: torch.dtype, tolerance: float) -> None:
    exact = made(4, 1, 200, 16, 16)
    low = [x.detach().to(dtype).requires_grad_() for x in exact]
    truth = by_definition(*exact, scale=0.25)
    ours = tiled_attention(*low, scale=0.25)
    torchs = F.scaled_dot_product_attention(*low, is_causal=True, scale=0.25).transpose(1, 2)
    apart, torchs_apart = ((x - truth).detach().abs().max().item() for x in (ours, torchs))
    assert apart <= max(2 * torchs_apart, tolerance)
    gradients = torch.autograd.grad(ours.float().square().sum(), low)
    true = torch.autograd.grad(truth.square().sum(), exact)
    for one, other in zip(gradients, true, strict=True):
        assert (one.double() - other).norm() <= 2 * tolerance * other.norm()


def test_autocast_decides_the_format_of_both_passes() -> None:
    with_exact_queries = made(2, 1, 40, 8, 8, dtype=torch.float32)  # as a norm's weights make them
    low = [x.detach().bfloat16().requires_grad_() for x in with_exact_queries]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = tiled_attention(*with_exact_queries, scale=3.0)
    plain = tiled_attention(*low, scale=3.0)
    assert torch.equal(out, plain)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(4)).bfloat16()
    found = torch.autograd.grad(out, with_exact_queries, weights)
    for ours, expected in zip(found, torch.autograd.grad(plain, low, weights), strict=True):
        assert torch.equal(ours, expected.float())


def test_no_position_sees_what_is_ahead() -> None:
    query, key, value = made(1, 1, 9, 4, 4)
    out = tiled_attention(query, key, value, scale=1.0, tile=4)
    (by_value,) = torch.autograd.grad(out[0, 5].sum(), [value])
    assert by_value[0, 0, :6].abs().min() > 0
    assert not by_value[0, 0, 6:].any()
    assert not by_value[1].any()


def test_an_even_attention_averages_what_was_seen() -> None:
    _, _, value = made(1, 1, 7, 4, 3)
    nothing = torch.zeros(2, 1, 7, 4, dtype=torch.float64)
    out = tiled_attention(nothing, nothing, value, scale=1.0, tile=3)
    means = value.cumsum(2) / torch.arange(1, 8)[:, None]
    torch.testing.assert_close(out[:, :, 0], means[:, 0])


def test_torch_agrees_that_it_is_an_operator() -> None:
    from roots.networks.tiled import _forward_op

    inputs = made(2, 2, 6, 4, 3, dtype=torch.float32)
    torch.library.opcheck(_forward_op, (*inputs, 0.5, 4, False))


@pytest.mark.slow  # compiles
def test_compiled_code_keeps_no_scores() -> None:
    """The compiler sees an operator, and not scores that the backward pass makes again."""
    torch.compiler.reset()
    sizes = []

    def keep(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    inputs = made(2, 1, 32, 4, 4, dtype=torch.float32)
    step = torch.compile(
        lambda q, k, v: tiled_attention(q, k, v, scale=0.5, tile=8), backend="aot_eager"
    )
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step(*inputs).sum().backward()
    assert 0 < max(sizes) <= 2 * 2 * 32 * 4


def test_large_scores_do_not_overflow() -> None:
    query, key, value = (x.detach() for x in made(1, 1, 8, 4, 4, dtype=torch.float32))
    out = tiled_attention(1e4 * query, key, value, scale=1.0, tile=4)
    assert out.isfinite().all()


# -- in a network ---------------------------------------------------------------------------------


def network(family: str, attention: str) -> nn.Module:
    shape = FAMILIES[family]
    if family != "gpt2":
        shape = {**shape, "num_hidden_layers": 2, "num_attention_heads": 4}
    builder = Scratch(config={"model_type": family, **shape}, attention=attention)
    return builder.build(VOCABULARY, seed=1, device=torch.device("cpu"))


@pytest.mark.parametrize("family", FAMILIES)
def test_networks_compute_the_same_with_it(family: str) -> None:
    tokens = torch.randint(0, 96, (3, 40), generator=torch.Generator().manual_seed(1))
    results = []
    for attention in ("eager", "tiled"):
        net = network(family, attention).train()
        assert net.config._attn_implementation == attention
        logits = net(input_ids=tokens, use_cache=False).logits
        logits.square().sum().backward()
        results.append((logits.detach(), [p.grad for p in net.parameters()]))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=1e-5)
    for one, other in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize("how", ["mask", "dropout", "one query", "not causal"])
def test_what_it_does_not_do_is_left_to_sdpa(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def sdpa(*args, **kwargs):
        asked.append((args, kwargs))
        return args[1], None

    monkeypatch.setattr("roots.networks.tiled.sdpa_attention_forward", sdpa)
    layer = nn.Module()
    layer.is_causal = how != "not causal"
    states = torch.randn(1, 2, 6, 4)
    query = states[:, :, -1:] if how == "one query" else states
    mask = torch.ones(1, 1, 6, 6, dtype=torch.bool) if how == "mask" else None
    dropout = 0.1 if how == "dropout" else 0.0
    tiled_attention_forward(layer, query, states, states, mask, scaling=0.5, dropout=dropout)
    assert len(asked) == 1
    assert asked[0][1] == {"scaling": 0.5, "dropout": dropout}


def test_a_padded_batch_gives_the_logits_of_sdpa() -> None:
    tokens = torch.randint(0, 96, (2, 12), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(tokens)
    mask[1, :5] = 0
    one, other = (network("llama", name).eval() for name in ("sdpa", "tiled"))
    logits = [
        n(input_ids=tokens, attention_mask=mask, use_cache=False).logits for n in (one, other)
    ]
    torch.testing.assert_close(logits[0], logits[1])


def test_an_exported_folder_says_nothing_of_it(tmp_path) -> None:
    network("llama", "tiled").save_pretrained(tmp_path)
    assert "tiled" not in (tmp_path / "config.json").read_text()
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.config._attn_implementation == "sdpa"


def test_a_family_that_sdpa_cannot_run_is_refused_and_the_cure_works() -> None:
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "head_dim": 8}
    shape |= {"num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 2}
    config = {"model_type": "gpt_oss", **shape, "num_experts_per_tok": 1}
    with pytest.raises(ConfigError, match=r"GptOss.*tiled.*auto or eager"):
        Scratch(config=config, attention="tiled").build(
            VOCABULARY, seed=1, device=torch.device("cpu")
        )
    Scratch(config=config, attention="eager").build(VOCABULARY, seed=1, device=torch.device("cpu"))
