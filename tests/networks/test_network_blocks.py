"""The repeated layers of a network, and which of its weights stay as they are below them."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForTokenClassification,
    PreTrainedModel,
)

from roots.networks import blocks_of
from roots.networks.freezing import freeze

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 64,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
}
PAIRS = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "vocab_size": 64,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
}
T5 = {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2, "vocab_size": 64}
ENCODER_DECODERS = {
    **dict.fromkeys(("bart", "marian", "pegasus", "blenderbot", "mvp", "m2m_100"), PAIRS),
    "led": {**PAIRS, "attention_window": 8},
    "fsmt": {**PAIRS, "src_vocab_size": 64, "tgt_vocab_size": 64, "langs": ["en", "de"]},
    "prophetnet": {
        "hidden_size": 32,
        "num_encoder_layers": 2,
        "num_decoder_layers": 3,
        "num_encoder_attention_heads": 2,
        "num_decoder_attention_heads": 2,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48,
        "vocab_size": 64,
    },
    "t5": {**T5, "num_decoder_layers": 3},
}
FUNNEL = {"d_model": 32, "n_head": 2, "d_head": 16, "d_inner": 48, "vocab_size": 64}
OPT = {**SIZES, "ffn_dim": 48, "word_embed_proj_dim": 16}


def made(kind: str, auto: Any, **keys: Any) -> PreTrainedModel:
    if kind == "fsmt":
        keys.pop("vocab_size")
    with torch.device("meta"):
        network: PreTrainedModel = auto.from_config(AutoConfig.for_model(kind, **keys))
    return network


def names_of(network: PreTrainedModel) -> list[str]:
    names = {id(module): name for name, module in network.named_modules()}
    return [names[id(block)] for block in blocks_of(network)]


def trained(network: PreTrainedModel) -> set[str]:
    return {name for name, p in network.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("kind", ENCODER_DECODERS)
def test_the_layers_of_either_half_are_blocks(kind: str) -> None:
    network = made(kind, AutoModelForSeq2SeqLM, **ENCODER_DECODERS[kind])
    place = re.compile(r"(encoder|decoder)\.(?:layers|block)\.(\d)$")
    assert [place.findall(name)[0] for name in names_of(network)] == [
        *(("encoder", str(n)) for n in range(2)),
        *(("decoder", str(n)) for n in range(3)),
    ]
    freeze(network, 1)
    pattern = re.compile(r"encoder\.(?:layers|block)\.(\d)\.")
    assert {found[1] for name in trained(network) if (found := pattern.search(name))} == {"1"}


def test_layers_that_lie_in_stages_are_blocks_and_not_the_stages() -> None:
    network = made(
        "funnel", AutoModelForMaskedLM, block_sizes=[1, 2], num_decoder_layers=1, **FUNNEL
    )
    assert names_of(network) == [
        "funnel.encoder.blocks.0.0",
        "funnel.encoder.blocks.1.0",
        "funnel.encoder.blocks.1.1",
        "funnel.decoder.layers.0",
    ]


def test_an_encoder_without_its_decoder_has_its_blocks_once() -> None:
    network = made("t5", AutoModelForTokenClassification, **T5)
    assert names_of(network) == ["transformer.encoder.block.0", "transformer.encoder.block.1"]


NORMED = ("embed_positions.weight", "layernorm_embedding.weight", "layernorm_embedding.bias")
KEPT: dict[str, tuple[Any, dict[str, Any], set[str]]] = {
    "opt": (
        AutoModelForCausalLM,
        OPT,
        {f"decoder.{n}.weight" for n in ("embed_tokens", "embed_positions", "project_in")},
    ),
    "bart": (
        AutoModelForSeq2SeqLM,
        PAIRS,
        {"shared.weight", *(f"{h}.{n}" for h in ("encoder", "decoder") for n in NORMED)},
    ),
    "esm": (
        AutoModelForMaskedLM,
        {**SIZES, "mask_token_id": 4},
        {f"embeddings.{n}_embeddings.weight" for n in ("word", "position")},
    ),
    "lfm2": (
        AutoModelForCausalLM,
        {**SIZES, "num_key_value_heads": 2},
        {"embed_tokens.weight"},
    ),
}


@pytest.mark.parametrize("kind", KEPT)
def test_embeddings_are_kept_and_last_norms_are_trained(kind: str) -> None:
    auto, keys, kept = KEPT[kind]
    network = made(kind, auto, **keys)
    freeze(network, 1)
    still = {name for name, p in network.base_model.named_parameters() if not p.requires_grad}
    assert {name for name in still if not re.search(r"\d", name)} == kept


def test_a_t5s_head_of_its_own_is_trained_above_a_frozen_body() -> None:
    network = made("t5", AutoModelForSeq2SeqLM, **T5)
    network.lm_head.weight = torch.nn.Parameter(network.lm_head.weight.clone())  # as of T5 1.1
    assert "the whole body are kept" in freeze(network, -1)
    assert trained(network) == {"lm_head.weight"}
