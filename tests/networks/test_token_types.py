"""Which text of a pair a token is of: told to the networks that know what it means, no others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from roots.batch import TaskBatch
from roots.modules.task import framed_batch
from roots.networks import TaskTrainable
from roots.objectives import Classes
from roots.tokenizer import Framed

GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
DECODERS = {"gpt2": GPT2, "ctrl": {**GPT2, "dff": 48}}
BERT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
IDS = [5, 9, 7, 11, 3]


def network(kind: str, keys: dict[str, Any]) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind, vocab_size=64, pad_token_id=1, num_labels=3, initializer_range=0.3, **keys
    )
    made: PreTrainedModel = AutoModelForSequenceClassification.from_config(config).eval()
    return made


def predicted(type_ids: list[int]) -> TaskBatch:
    """What `predict` reads: it always has type ids."""
    none = (None,) * len(IDS)
    framed = Framed(
        ids=IDS, type_ids=type_ids, word_ids=none, was_cut=False, offsets=(), sequence_ids=()
    )
    return framed_batch([framed], 1, torch.zeros(1, dtype=torch.long))


def said(made: PreTrainedModel, batch: TaskBatch) -> Tensor:
    with torch.no_grad():
        logits: Tensor = TaskTrainable(made, Classes()).output_of(batch).logits
    return logits


@pytest.mark.parametrize("type_ids", [[0] * 5, [0, 0, 0, 1, 1]], ids=["a text", "a pair"])
@pytest.mark.parametrize("kind", DECODERS)
def test_a_decoder_adds_no_tokens_for_type_ids(kind: str, type_ids: list[int]) -> None:
    made = network(kind, DECODERS[kind])
    batch = predicted(type_ids)
    with torch.no_grad():
        plain = made(input_ids=torch.tensor([IDS])).logits
        added = made(**batch.inputs).logits
    assert (added - plain).abs().max() > 0.01  # what it would say with them
    torch.testing.assert_close(said(made, batch), plain)


def test_an_encoder_is_told_which_text_of_a_pair_a_token_is_of() -> None:
    made = network("bert", BERT)
    one, pair = said(made, predicted([0] * 5)), said(made, predicted([0, 0, 0, 1, 1]))
    assert (one - pair).abs().max() > 0.01
