"""Surprisals equal their definition in float64, and add up to what a validation reports."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_tasks import write_encoder
from transformers import BertModel, PreTrainedModel

from roots.errors import ConfigError
from roots.fit import compose
from roots.inference import surprisals
from roots.tokenizer import Tokenizer

Make = Callable[..., PreTrainedModel]
TEXT = "def main():\n    return 'naïve 你好'\n"


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mixtral"])
def test_a_surprisal_is_minus_the_log_of_a_probability_in_float64(
    kind: str, make: Make, tokenizer: Tokenizer
) -> None:
    network = make(kind)
    read = surprisals(network, tokenizer, TEXT[:20])
    ids = [tokenizer.bos_id, *tokenizer.encode(TEXT[:20])]
    network.eval().requires_grad_(False)
    for place, token in enumerate(read, start=1):  # one position at a time: what follows is unseen
        logits = network(input_ids=torch.tensor([ids[:place]])).logits[0, -1].double()
        probabilities = logits.exp() / logits.exp().sum()
        assert token.id == ids[place]
        assert token.nats == pytest.approx(-math.log(float(probabilities[ids[place]])), rel=1e-4)
        assert token.bits == pytest.approx(token.nats / math.log(2))


def test_the_pieces_are_the_text_and_half_characters_are_empty(
    make: Make, tokenizer: Tokenizer
) -> None:
    read = surprisals(make("llama"), tokenizer, TEXT + "🇩🇪")
    assert "".join(token.text for token in read) == TEXT + "🇩🇪"
    assert "" in [token.text for token in read]


def test_the_network_is_left_as_it_was(make: Make, tokenizer: Tokenizer) -> None:
    network = make("llama").train()
    surprisals(network, tokenizer, TEXT)
    assert network.training
    assert torch.is_grad_enabled()


def test_they_add_up_to_the_loss_of_the_run(config: dict) -> None:
    composed = compose(config)
    composed.fit()
    network, tokenizer = composed.model.trainable.network, composed.data.tokenizer
    text = "the cat sat on the mat."
    n_tokens = len(tokenizer.encode(text))
    ids = torch.tensor([[tokenizer.bos_id, *tokenizer.encode(text)]])
    own = network.eval()(input_ids=ids, labels=ids).loss  # transformers' mean over the tokens
    read = surprisals(network, tokenizer, text)
    assert sum(token.nats for token in read) == pytest.approx(
        float(own.detach()) * n_tokens, rel=1e-5
    )


def test_bad_texts_and_networks_are_refused_with_their_sizes(
    make: Make, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    gpt2 = make("gpt2")
    with pytest.raises(ConfigError, match="The text has no tokens"):
        surprisals(gpt2, tokenizer, "")
    text = "ü" * 60
    n_tokens = len(tokenizer.encode(text)) + 1
    with pytest.raises(ConfigError, match=f"has {n_tokens} tokens, .* the network 48 positions"):
        surprisals(gpt2, tokenizer, text)
    assert surprisals(gpt2, tokenizer, text[:20])  # the cure
    bert = BertModel.from_pretrained(write_encoder(tmp_path / "bert"))
    with pytest.raises(ConfigError, match="BertModel does not read a text from left to right"):
        surprisals(bert, tokenizer, TEXT)
