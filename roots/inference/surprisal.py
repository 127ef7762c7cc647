"""How much each token of a text surprises a causal language model.

Shape letters: T tokens of the text, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from roots.errors import ConfigError
from roots.inference.generation import evaluating, most_positions
from roots.inference.streaming import pieces_of
from roots.tokenizer import Tokenizer


@dataclass(frozen=True)
class ReadToken:
    """A token of a text, as a network read it.

    Args:
        id: Its id.
        text: The characters that are whole with it; empty where a later token ends its character.
        nats: Its surprisal: minus the log of the probability that it had after those before it.
    """

    id: int
    text: str
    nats: float

    @property
    def bits(self) -> float:
        """The surprisal in bits."""
        return self.nats / math.log(2)


def surprisals(network: PreTrainedModel, tokenizer: Tokenizer, text: str) -> list[ReadToken]:
    """Reads a text and tells how surprising each of its tokens was.

    The first one is read after the token that begins a text (`bos_id`). The surprisals add up to
    what the text costs: their sum in bits, divided by the bytes of the text, is its
    `bits_per_byte`. A corpus of roots has the eos alone between documents: with a tokenizer whose
    bos is another token (a Llama's), a network trained on it from scratch never read that one, and
    the first surprisals are off.

    Args:
        network: A causal language model, on any device, in training or not.
        tokenizer: What it reads.
        text: Taken literally.

    Raises:
        ConfigError: The text is empty or longer than the network's positions, or the network does
            not read from left to right.
    """
    ids = [tokenizer.bos_id, *tokenizer.encode(text)]
    _check(network, len(ids))
    device = network.get_input_embeddings().weight.device
    input_ids = torch.tensor([ids], device=device)  # 1 T+1
    with torch.no_grad(), evaluating(network):
        logits = network(input_ids=input_ids, use_cache=False).logits[0, :-1]  # T V
    nats = cross_entropy(logits.float(), input_ids[0, 1:], reduction="none")  # T
    pieces = pieces_of(tokenizer, ids[1:])
    return [ReadToken(*each) for each in zip(ids[1:], pieces, nats.tolist(), strict=True)]


def _check(network: PreTrainedModel, n_tokens: int) -> None:
    if not network.can_generate() or network.config.is_encoder_decoder:
        raise ConfigError(
            f"{type(network).__name__} does not read a text from left to right alone. Take a causal"
            " language model, such as a run of roots.modules.CausalLM."
        )
    if n_tokens < 2:
        raise ConfigError("The text has no tokens. Give one of a character at least.")
    limit = most_positions(network)
    if limit is not None and n_tokens > limit:
        raise ConfigError(
            f"The text has {n_tokens:,} tokens, with the one that begins it, and the network"
            f" {limit:,} positions. Cut it into parts."
        )
