"""What a masked language model finds where tokens of a text are hidden.

Shape letters: T tokens of the row, N hidden ones, V vocabulary, k guesses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer as RustTokenizer
from transformers import PreTrainedModel

from roots.errors import ConfigError
from roots.inference.generation import evaluating, most_positions
from roots.inference.sampling import check_finite
from roots.tokenizer import Tokenizer


@dataclass(frozen=True)
class Guess:
    """A token that may be hidden at a place.

    Args:
        id: Its id.
        text: What it stands for.
        probability: That it is the hidden one, after those that are seen on both sides.
    """

    id: int
    text: str
    probability: float


def fill(
    network: PreTrainedModel, tokenizer: Tokenizer, text: str, *, k: int = 5
) -> list[list[Guess]]:
    """Guesses the hidden tokens of a text, each without knowing the others.

    The text is framed as `roots.data.MaskedCorpus` frames rows: with `[CLS]` and `[SEP]` for a
    BERT. A mask hides one space before it too where tokens hold their spaces (RoBERTa), so that it
    may be written.

    Args:
        network: A masked language model, on any device, in training or not.
        tokenizer: What it reads.
        text: With the tokenizer's mask token (`[MASK]`, `<mask>`) wherever a token is hidden.
        k: Guesses for each, the likeliest first.

    Returns:
        The guesses of each mask, in the order of the text.

    Raises:
        ConfigError: There is no mask token, none in the text, more tokens than the network has
            positions, or k is no number of tokens of the vocabulary.
        TrainingError: The network's logits are no numbers.
    """
    ids = framed(tokenizer, text)
    places = [place for place, id_ in enumerate(ids) if id_ == tokenizer.mask_id]
    if not places:
        raise ConfigError(
            f"The text hides no token. Write {mask_of(tokenizer)} where one is to be guessed."
        )
    limit = most_positions(network)
    if limit is not None and len(ids) > limit:
        raise ConfigError(
            f"The text has {len(ids):,} tokens, with those around it, and the network {limit:,}"
            " positions. Cut it."
        )
    if not 1 <= k <= tokenizer.vocab_size:
        raise ConfigError(
            f"k={k} is no number of guesses. Set it to 1 to {tokenizer.vocab_size:,}, the size of"
            " the vocabulary."
        )
    device = network.get_input_embeddings().weight.device
    with torch.no_grad(), evaluating(network):
        logits = network(input_ids=torch.tensor([ids], device=device)).logits[0, places]  # N V
    check_finite(logits)
    # rows of an embedding that is larger than the vocabulary stand for no token
    likely = logits.float().softmax(-1)[:, : tokenizer.vocab_size].topk(k)  # N k
    return [
        [Guess(id_, tokenizer.decode([id_]), p) for id_, p in zip(*each, strict=True)]
        for each in zip(likely.indices.tolist(), likely.values.tolist(), strict=True)
    ]


def mask_of(tokenizer: Tokenizer) -> str:
    """Gives the token that hides another, as it is written.

    Raises:
        ConfigError: There is none.
    """
    if tokenizer.mask_id is None:
        raise ConfigError(
            f"The tokenizer of {tokenizer.vocab_size:,} ids has no mask token: nothing can be"
            " hidden. Take a masked language model, such as a run of roots.modules.MaskedLM."
        )
    return str(tokenizer.settings["mask_token"])


def framed(tokenizer: Tokenizer, text: str) -> list[int]:
    """Encodes a text between what begins and ends a row; masks that are written in it count."""
    rust = RustTokenizer.from_str(tokenizer.definition)
    rust.no_padding()
    rust.no_truncation()
    text = re.sub(rf" (?={re.escape(mask_of(tokenizer))})", "", text)
    ids = rust.encode(text, add_special_tokens=False).ids
    return [tokenizer.bos_id, *ids, tokenizer.eos_id]
