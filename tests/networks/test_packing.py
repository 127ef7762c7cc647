"""Packed rows: the logits, and the gradients, are those of each document alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
)

from roots.errors import ConfigError
from roots.networks import check_packing, packed_arguments, rows_are_packed
from roots.networks.packing import PADDING
from roots.networks.tiled import TILED

V = 50
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "vocab_size": V,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
    "bos_token_id": None,
    "eos_token_id": None,
}
GROUPED = {**SIZES, "num_key_value_heads": 1}
HEADS = {**GROUPED, "head_dim": 16}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": V, "n_positions": 40}
DISTIL = {"dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 2, "vocab_size": V}
CAUSAL = {
    "gpt2": GPT2,
    "llama": GROUPED,
    "qwen3": HEADS,
    "mistral": {**HEADS, "sliding_window": 4},
    "gemma3_text": {**HEADS, "sliding_window": 4, "query_pre_attn_scalar": 16},
    "gpt_neox": SIZES,
    "olmo2": GROUPED,
}
ENCODERS = {
    "bert": SIZES,
    "roberta": SIZES,
    "xlm-roberta": SIZES,
    "distilbert": {**DISTIL, "pad_token_id": 1, "max_position_embeddings": 40},
    "electra": {**SIZES, "embedding_size": 16},
    "albert": {**SIZES, "embedding_size": 16},
    "modernbert": {**SIZES, "local_attention": 6},
}
FAMILIES = [*CAUSAL, *ENCODERS]
DOCUMENTS = ((13, 5, 1, 9), (2, 17, 6))
"""Lengths of the documents in two rows of 32; longer than the windows."""


def build(kind: str, settings: dict[str, Any], auto: Any, attention: str = "sdpa") -> Any:
    torch.manual_seed(0)
    wide = {"initializer_range": 0.3}  # so that a leak would show
    config = AutoConfig.for_model(kind, **{**settings, **wide})
    return auto.from_config(config, attn_implementation=attention).eval()


def network(kind: str, attention: str = "sdpa") -> PreTrainedModel:
    if kind in CAUSAL:
        return build(kind, CAUSAL[kind], AutoModelForCausalLM, attention)
    return build(kind, ENCODERS[kind], AutoModelForMaskedLM, attention)


def rows() -> tuple[Tensor, Tensor]:
    """Two rows of several documents, with padding at the end."""
    input_ids = torch.full((2, 32), 1)
    document_ids = torch.full((2, 32), PADDING)
    generator = torch.Generator().manual_seed(1)
    for row, lengths in enumerate(DOCUMENTS):
        end = sum(lengths)
        input_ids[row, :end] = torch.randint(2, V, (end,), generator=generator)
        document_ids[row, :end] = torch.arange(len(lengths)).repeat_interleave(
            torch.tensor(lengths)
        )
    return input_ids, document_ids


def packed_logits(model: PreTrainedModel) -> Tensor:
    input_ids, document_ids = rows()
    with rows_are_packed():
        logits = model(**packed_arguments(model, input_ids, document_ids)).logits
    return logits[document_ids != PADDING]


def own_logits(model: PreTrainedModel) -> Tensor:
    input_ids, _ = rows()
    alone = [
        model(input_ids=document[None]).logits[0]
        for row, lengths in zip(input_ids, DOCUMENTS, strict=True)
        for document in row[: sum(lengths)].split(list(lengths))
    ]
    return torch.cat(alone)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", FAMILIES)
def test_packed_logits_are_those_of_each_document_alone(kind: str, attention: str) -> None:
    model = network(kind, attention)
    check_packing(model)
    with torch.no_grad():
        packed, own = packed_logits(model), own_logits(model)
        together = model(input_ids=rows()[0]).logits[rows()[1] != PADDING]
    torch.testing.assert_close(packed, own, rtol=0, atol=1e-5 * float(own.abs().max()))
    assert (together - own).abs().max() > 0.05 * own.abs().max()  # else nothing is shown


@pytest.mark.parametrize("kind", ["gpt2", "mistral", "bert", "roberta", "modernbert"])
def test_packed_gradients_are_those_of_the_documents(kind: str) -> None:
    model = network(kind).double()

    def gradients(logits: Tensor) -> list[Tensor]:
        model.zero_grad()
        logits.sin().sum().backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    packed, own = gradients(packed_logits(model)), gradients(own_logits(model))
    for ours, theirs in zip(packed, own, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_in_training_mode_too(kind: str) -> None:
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    settings = {**{**CAUSAL, **ENCODERS}[kind], **(no_dropout if kind == "bert" else {})}
    auto = AutoModelForCausalLM if kind in CAUSAL else AutoModelForMaskedLM
    model = build(kind, settings, auto)
    with torch.no_grad():
        own = own_logits(model)
        packed = packed_logits(model.train())
    torch.testing.assert_close(packed, own, rtol=0, atol=1e-5 * float(own.abs().max()))


@pytest.mark.slow  # compiles
@pytest.mark.parametrize("kind", ["llama", "modernbert"])
def test_compiled_too_for_documents_that_lie_elsewhere(kind: str) -> None:
    model = network(kind)
    model.base_model.compile(backend="aot_eager", fullgraph=True, dynamic=False)
    with torch.no_grad():
        packed_logits(model)
        input_ids, document_ids = rows()
        turned = input_ids.flip(0), document_ids.flip(0)
        with rows_are_packed(), torch.compiler.set_stance("fail_on_recompile"):
            logits = model(**packed_arguments(model, *turned)).logits.flip(0)
        own = own_logits(network(kind))
    torch.testing.assert_close(
        logits[document_ids != PADDING], own, rtol=0, atol=1e-5 * float(own.abs().max())
    )


@pytest.mark.parametrize("kind", ["gpt2", "llama", "mistral"])
def test_tiled_attention_leaves_packed_rows_to_sdpa(kind: str, monkeypatch) -> None:
    model = network(kind)
    with torch.no_grad():
        expected = packed_logits(model)
        model.set_attn_implementation(TILED)
        check_packing(model)
        monkeypatch.setattr("roots.networks.tiled.tiled_attention", _must_not_run)
        torch.testing.assert_close(packed_logits(model), expected)


def _must_not_run(*_: Any, **__: Any) -> Any:
    raise AssertionError("tiled attention knows no documents")


def test_a_document_that_comes_twice_is_two_documents() -> None:
    model = network("bert")
    input_ids = torch.arange(2, 14)[None]
    again = torch.tensor([[0] * 4 + [1] * 4 + [0] * 4])
    other = torch.tensor([[0] * 4 + [1] * 4 + [2] * 4])
    with torch.no_grad():
        torch.testing.assert_close(
            model(**packed_arguments(model, input_ids, again)).logits,
            model(**packed_arguments(model, input_ids, other)).logits,
        )


def test_positions_begin_anew_from_where_the_family_counts() -> None:
    _, document_ids = rows()
    for kind, first, padding in (("bert", 0, 0), ("roberta", 2, 1)):
        positions = packed_arguments(network(kind), *rows())["position_ids"]
        assert positions[0, :20].tolist() == [
            first + place for length in (13, 5, 1, 1) for place in range(length)
        ]
        assert positions[0, 28] == padding
        assert positions.shape == document_ids.shape


def test_the_check_leaves_the_network_as_it_was() -> None:
    for kind in ("mistral", "modernbert"):
        model = network(kind).train()
        before = model.config.to_dict()
        check_packing(model)
        assert model.training
        assert model.config.to_dict() == before


# -- refused by name ------------------------------------------------------------------------------

MAMBA = {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": V, "state_size": 4}
XLNET = {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 48, "vocab_size": V}
BLOOM = {"hidden_size": 32, "n_layer": 2, "n_head": 2, "vocab_size": V}
T5 = {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2, "vocab_size": V}
XLM = {"emb_dim": 32, "n_layers": 2, "n_heads": 2, "vocab_size": V}
INDEXED = {
    **GROUPED,
    "num_key_value_heads": 2,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "n_group": 1,
    "topk_group": 1,
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "index_n_heads": 2,
    "index_head_dim": 16,
    "index_topk": 24,
}
CANNOT = {
    "XLMWithLMHeadModel": ("xlm", XLM, AutoModelForMaskedLM),
    "DeepseekV32ForCausalLM": ("deepseek_v32", INDEXED, AutoModelForCausalLM),
    "NeoMMEForMaskedLM": ("neomme", HEADS, AutoModelForMaskedLM),
    "MambaForCausalLM": ("mamba", MAMBA, AutoModelForCausalLM),
    "XLNetLMHeadModel": ("xlnet", XLNET, AutoModelForCausalLM),
    "BloomForCausalLM": ("bloom", BLOOM, AutoModelForCausalLM),
    "DebertaV2ForMaskedLM": ("deberta-v2", SIZES, AutoModelForMaskedLM),
    "BertLMHeadModel": ("bert", {**SIZES, "is_decoder": True}, AutoModelForCausalLM),
    "FNetForMaskedLM": ("fnet", SIZES, AutoModelForMaskedLM),
    "T5ForConditionalGeneration": ("t5", T5, AutoModelForSeq2SeqLM),
}


@pytest.mark.parametrize("name", CANNOT)
def test_a_family_that_cannot_is_refused_by_name_with_the_alternative(name: str) -> None:
    model = build(*CANNOT[name], attention="eager")
    with pytest.raises(ConfigError) as caught:
        check_packing(model)
    message = str(caught.value)
    assert message.startswith(f"{name} cannot keep the documents of a row apart: ")
    assert "Give each document a row of its own, or let the documents of a row see" in message
    # the cure: one of the architectures that it names
    check_packing(network("gpt2"))


def test_a_leak_is_seen(monkeypatch) -> None:
    model = network("llama")
    monkeypatch.setattr("roots.networks.packing.rows_are_packed", _nothing_is_packed)
    with pytest.raises(ConfigError, match=r"LlamaForCausalLM.*logits differ by"):
        check_packing(model)


def _nothing_is_packed() -> Any:
    from roots.networks.unpacked import rows_are_unpacked

    return rows_are_unpacked()


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bert", "modernbert"])
def test_a_leak_would_be_seen_in_a_network_of_usual_weights(kind: str, monkeypatch) -> None:
    settings = {**CAUSAL, **ENCODERS}[kind]
    auto = AutoModelForCausalLM if kind in CAUSAL else AutoModelForMaskedLM
    model = auto.from_config(AutoConfig.for_model(kind, **settings))
    check_packing(model)
    monkeypatch.setattr("roots.networks.packing.rows_are_packed", _nothing_is_packed)
    monkeypatch.setattr("roots.networks.packing._masks", lambda *_: None)
    with pytest.raises(ConfigError, match="logits differ by"):
        check_packing(model)


def test_a_network_that_lets_nothing_through_proves_nothing() -> None:
    model = network("llama")
    for layer in model.model.layers:
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
    with pytest.raises(ConfigError, match="hardly depend on other tokens"):
        check_packing(model)
