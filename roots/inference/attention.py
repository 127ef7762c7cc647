"""Where each position of a text looks: the attention weights of a network.

Shape letters: L layers, H attention heads, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from roots.errors import ConfigError
from roots.inference.generation import evaluating, most_positions
from roots.inference.streaming import pieces_of
from roots.networks.checks import check_causal
from roots.networks.quiet import quiet_transformers
from roots.tokenizer import Tokenizer


@dataclass(frozen=True)
class AttentionMaps:
    """The attention weights of a text.

    Args:
        tokens: The text of each token, the special ones around them too; empty where a later token
            ends its character.
        weights: `weights[l, h, t]` is how position t shares its attention among all positions, in
            head h of layer l: it adds up to 1. On the CPU, in float32.
    """

    tokens: list[str]
    weights: Float[Tensor, "L H T T"]

    @property
    def entropies(self) -> Float[Tensor, "L H"]:
        """Mean entropy of each head's rows, in nats: 0 looks at one place, log T at all alike."""
        entropies: Tensor = torch.special.entr(self.weights).sum(-1).mean(-1)
        return entropies


def attention_maps(network: PreTrainedModel, tokenizer: Tokenizer, text: str) -> AttentionMaps:
    """Reads a text and gives the attention weights of every layer and head.

    They are computed by the plain (`eager`) attention, which keeps them; the network has its own
    attention again afterwards. A causal network reads the token that begins a text first; an
    encoder reads the text between the tokens that begin and end one.

    Args:
        network: A language model or encoder, on any device, in training or not.
        tokenizer: What it reads.
        text: Taken literally; the memory needed grows with the square of its tokens.

    Raises:
        ConfigError: The text is longer than the network's positions, or the network has no
            attention of that kind (Mamba, RWKV), or an encoder and a decoder, or gives weights
            that see later tokens, which it itself does not see.
    """
    end = [] if network.can_generate() else [tokenizer.eos_id]
    ids = [tokenizer.bos_id, *tokenizer.encode(text), *end]
    _check(network, len(ids))
    input_ids = torch.tensor([ids], device=network.get_input_embeddings().weight.device)  # 1 T
    cache = {"use_cache": False} if network.can_generate() else {}
    with torch.no_grad(), evaluating(network), _plain_attention(network):
        output = network(input_ids=input_ids, output_attentions=True, **cache)
    found = [each[0] for each in getattr(output, "attentions", None) or () if each is not None]
    if not found:
        raise ConfigError(
            f"{type(network).__name__} gives no attention weights: it has none, or keeps them to"
            " itself. Take a transformer, such as a Llama, GPT-2, Qwen3 or BERT."
        )
    weights = torch.stack(found).float().cpu()  # L H T T
    _check_causal(network, weights)
    return AttentionMaps(pieces_of(tokenizer, ids), weights)


def _check(network: PreTrainedModel, n_tokens: int) -> None:
    if network.config.is_encoder_decoder:
        raise ConfigError(
            f"{type(network).__name__} has an encoder and a decoder, with three kinds of attention."
            " Take its encoder: network.get_encoder()."
        )
    limit = most_positions(network)
    if limit is not None and n_tokens > limit:
        raise ConfigError(
            f"The text has {n_tokens:,} tokens, with the special ones, and the network {limit:,}"
            " positions. Take a shorter one."
        )


def _check_causal(network: PreTrainedModel, weights: Float[Tensor, "L H T T"]) -> None:
    ahead = float(weights.triu(1).max())
    if ahead == 0 or not network.can_generate() or _sees_ahead(network):
        return
    raise ConfigError(
        f"The attention weights that {type(network).__name__} gives see later tokens (up to"
        f" {ahead:.2g} of a row), and the network does not: they are not what it computes with"
        f" (its attention is {network.config._attn_implementation}). Open it with the plain one:"
        " attention: eager of its builder, or attn_implementation='eager' in from_pretrained."
    )


def _sees_ahead(network: PreTrainedModel) -> bool:
    try:
        with evaluating(network):
            check_causal(network)
    except ConfigError:
        return True
    return False


@contextmanager
def _plain_attention(network: PreTrainedModel) -> Iterator[None]:
    """Sets the attention that keeps its weights; afterwards the one that was set before."""
    before = network.config._attn_implementation
    if before == "eager" or before is None:
        yield
        return
    _set(network, "eager")
    try:
        yield
    finally:
        _set(network, before)


def _set(network: PreTrainedModel, attention: str) -> None:
    with quiet_transformers():
        network.set_attn_implementation(attention)
    if network.config._attn_implementation != attention:  # refused: Falcon has code of its own,
        network.config._attn_implementation = attention  # which reads this whenever it runs
