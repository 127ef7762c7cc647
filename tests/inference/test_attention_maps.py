"""Attention maps are shares, see no future, and give what the network's own attention gives."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_tasks import write_encoder
from transformers import (
    BertConfig,
    BertLMHeadModel,
    BertModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
)

from roots.errors import ConfigError
from roots.inference import AttentionMaps, attention_maps
from roots.tokenizer import Tokenizer

Make = Callable[..., PreTrainedModel]
TEXT = "def main(): return"


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mixtral", "falcon"])
def test_a_row_is_shares_of_what_came_before(kind: str, make: Make, tokenizer: Tokenizer) -> None:
    maps = attention_maps(make(kind), tokenizer, TEXT)
    n = 1 + len(tokenizer.encode(TEXT))
    assert maps.weights.shape == (2, 4, n, n)
    assert len(maps.tokens) == n
    assert "".join(maps.tokens[1:]) == TEXT
    torch.testing.assert_close(maps.weights.sum(-1), torch.ones(2, 4, n))
    assert float(maps.weights.triu(1).abs().max()) == 0.0  # causal


def test_the_maps_give_what_the_networks_own_attention_gives(
    make: Make, tokenizer: Tokenizer
) -> None:
    """By hooks on the run with sdpa: the maps times the values are what its attention gave out."""
    network = make("llama", num_key_value_heads=4)
    assert network.config._attn_implementation == "sdpa"
    kept: dict[str, torch.Tensor] = {}
    attention: Any = network.model.layers[1].self_attn
    hooks = [
        attention.v_proj.register_forward_hook(lambda _m, _i, out: kept.update(values=out)),
        attention.o_proj.register_forward_pre_hook(lambda _m, into: kept.update(mixed=into[0])),
    ]
    ids = torch.tensor([[tokenizer.bos_id, *tokenizer.encode(TEXT)]])
    network.eval()(input_ids=ids, use_cache=False)
    for hook in hooks:
        hook.remove()
    weights = attention_maps(network, tokenizer, TEXT).weights[1]  # H T T
    values = kept["values"].view(1, -1, 4, 8)[0].transpose(0, 1)  # H T K
    ours = (weights @ values).transpose(0, 1).flatten(1)  # T H*K
    torch.testing.assert_close(ours, kept["mixed"][0])


@pytest.mark.parametrize("alibi", [False, True])
def test_falcon_gives_what_it_gives_when_it_is_opened_with_plain_attention(
    alibi: bool, make: Make, tokenizer: Tokenizer
) -> None:
    """It refuses another attention by a line in the log alone."""
    network = make("falcon", alibi=alibi)
    config = copy.deepcopy(network.config)
    plain = type(network)._from_config(config, attn_implementation="eager")
    plain.load_state_dict(network.state_dict())
    assert network.config._attn_implementation == "sdpa"
    ours, theirs = (attention_maps(n, tokenizer, TEXT).weights for n in (network, plain))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert network.config._attn_implementation == "sdpa"


def test_weights_that_see_later_tokens_of_a_network_that_does_not_are_refused(
    make: Make, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roots.inference.attention._set", lambda _network, _attention: None)
    network = make("falcon")
    with pytest.raises(ConfigError, match=r"see later tokens \(up to 0\.\d+.*is sdpa"):
        attention_maps(network, tokenizer, TEXT)
    cured = type(network)._from_config(network.config, attn_implementation="eager")
    assert float(attention_maps(cured, tokenizer, TEXT).weights.triu(1).max()) == 0


def test_a_network_that_itself_sees_both_ways_gives_its_maps(
    make: Make, tokenizer: Tokenizer
) -> None:
    network = make("bert", is_decoder=True)
    assert float(attention_maps(network, tokenizer, TEXT).weights.triu(1).max()) == 0
    both = BertLMHeadModel(BertConfig(**{**network.config.to_dict(), "is_decoder": False}))
    assert float(attention_maps(both, tokenizer, TEXT).weights.triu(1).max()) > 0


def test_the_network_keeps_its_attention_and_mode(make: Make, tokenizer: Tokenizer) -> None:
    network = make("llama").train()
    attention_maps(network, tokenizer, TEXT)
    assert network.config._attn_implementation == "sdpa"
    assert network.training


def test_an_encoder_looks_both_ways_between_its_special_tokens(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "bert")
    tokenizer = Tokenizer.load(folder)
    maps = attention_maps(BertModel.from_pretrained(folder), tokenizer, "the cat")
    assert (maps.tokens[0], maps.tokens[-1].strip()) == ("[CLS]", "[SEP]")
    assert float(maps.weights.triu(1).max()) > 0
    torch.testing.assert_close(maps.weights.sum(-1), torch.ones_like(maps.weights.sum(-1)))


def test_entropy_is_log_t_where_a_head_looks_everywhere_alike(
    make: Make, tokenizer: Tokenizer
) -> None:
    even, sharp = torch.full((5, 5), 0.2), torch.eye(5)
    maps = AttentionMaps(list("abcde"), torch.stack([even, sharp])[None])
    torch.testing.assert_close(maps.entropies, torch.tensor([[math.log(5), 0.0]]))


def test_what_has_no_attention_or_too_much_text_is_refused(
    make: Make, tokenizer: Tokenizer
) -> None:
    with pytest.raises(ConfigError, match="MambaForCausalLM gives no attention weights"):
        attention_maps(make("mamba"), tokenizer, TEXT)
    gpt2 = make("gpt2")
    with pytest.raises(ConfigError, match="and the network 48 positions"):
        attention_maps(gpt2, tokenizer, "ü" * 60)
    assert attention_maps(gpt2, tokenizer, "ü" * 20).tokens  # the cure


def test_roberta_counts_its_positions_from_behind_its_padding_token(tokenizer: Tokenizer) -> None:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = RobertaConfig(
        vocab_size=tokenizer.vocab_size,
        intermediate_size=8,
        max_position_embeddings=34,
        pad_token_id=1,
        **sizes,
    )
    network = RobertaModel(config)
    n = len(tokenizer.encode("x"))
    assert n == 1
    n_special = len(attention_maps(network, tokenizer, "x").tokens) - n
    assert attention_maps(network, tokenizer, "x" * (32 - n_special)).weights.shape[-1] == 32
    with pytest.raises(ConfigError, match=r"33 tokens.* 32 positions"):
        attention_maps(network, tokenizer, "x" * (33 - n_special))
