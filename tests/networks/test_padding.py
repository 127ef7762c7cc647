"""What a network says of a row is compared with what it says of it beside a longer one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from roots.networks import reads_padding

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 50,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
}
HEADS = {
    "classes": AutoModelForSequenceClassification,
    "tags": AutoModelForTokenClassification,
    "answers": AutoModelForQuestionAnswering,
    "hidden tokens": AutoModelForMaskedLM,
}
HIDE_IT = ("bert", "roberta", "electra", "modernbert", "albert", "mpnet")
READ_IT = ("fnet", "convbert", "nystromformer")


def built(kind: str, head: str) -> Any:
    torch.manual_seed(1)
    network = HEADS[head].from_config(AutoConfig.for_model(kind, **SIZES)).float()
    for parameter in network.parameters():  # as trained weights: the usual 0.02 hides small leaks
        torch.nn.init.normal_(parameter, std=0.2)
    return network.train()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", HIDE_IT)
def test_attention_hides_what_fills_a_row_up(kind: str, head: str) -> None:
    network = built(kind, head)
    assert reads_padding(network) == ""
    assert network.training


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", READ_IT)
def test_what_mixes_places_without_a_mask_is_told_with_a_cure(kind: str, head: str) -> None:
    network = built(kind, head)
    told = reads_padding(network)
    assert told.startswith(f"padding: {type(network).__name__} reads the places that fill a row up")
    assert "model.micro_batch_size: 1 fills nothing up" in told
    assert network.training


def test_a_classifier_that_reads_the_last_token_finds_it() -> None:
    config = AutoConfig.for_model("qwen3", **SIZES, head_dim=16, num_key_value_heads=2)
    assert reads_padding(AutoModelForSequenceClassification.from_config(config).float()) == ""


def test_a_network_that_is_not_run_on_such_rows_is_left_alone() -> None:
    sizes = {
        f"{side}_{name}": 2
        for side in ("encoder", "decoder")
        for name in ("layers", "attention_heads")
    }
    config = AutoConfig.for_model("bart", d_model=32, vocab_size=50, **sizes)
    network = AutoModelForSequenceClassification.from_config(config).float()
    with pytest.raises(ValueError, match="<eos>"):  # it asks for an end of text in every row
        network(torch.arange(4, 8)[None])
    assert reads_padding(network) == ""
