"""Answering in a conversation, with the chat template of the tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from transformers import PreTrainedModel

from roots.errors import ConfigError, DataError, UserError
from roots.inference.generation import eos_ids, tokens
from roots.inference.sampling import Sampling
from roots.tokenizer import Chat, Message, TemplateRefusal, Tokenizer


def chat(
    network: PreTrainedModel,
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    *,
    template: str = "",
    max_tokens: int = 200,
    temperature: float = 0.8,
    top_k: int = 0,
    top_p: float = 0.95,
    seed: int = 1,
) -> str:
    """Gives the assistant's answer to a conversation.

    Args:
        network: A causal language model, on any device, in training or not.
        tokenizer: What it reads.
        messages: The turns so far, each with `role` and `content`; the last is the user's.
        template: `plain`, a .jinja file, or empty for the tokenizer's own.
        max_tokens: Most tokens of the answer.
        temperature: See `Sampling`; 0 always takes the likeliest token.
        top_k: See `Sampling`; 0 is off.
        top_p: See `Sampling`; 1 is off.
        seed: The same seed gives the same text; the global random state is not touched.

    Raises:
        ConfigError: A value is out of its range, there is no template, it does not take such turns,
            or they do not fit into the network's positions.
    """
    ids, ends = asked(tokenizer, messages, template)
    found = tokens(
        network,
        ids,
        max_tokens=max_tokens,
        sampling=Sampling(temperature=temperature, top_k=top_k, top_p=top_p),
        seed=seed,
        eos_id=eos_ids(network, tokenizer) | ends,
    )
    return tokenizer.decode(found).strip()


def asked(
    tokenizer: Tokenizer, messages: Sequence[Message], template: str = ""
) -> tuple[list[int], frozenset[int]]:
    """Gives the tokens that an answer follows, and those that end an answer.

    Where the template does not tell what ends one (its prompt begins the answer, as those of models
    that reason do), that is left to what ends a text.

    Raises:
        ConfigError: There is no template, or it does not take such turns.
    """
    maker = Chat(tokenizer, template)
    try:
        ids = maker.prompt(messages)
    except TemplateRefusal as error:
        raise ConfigError(f"The chat template does not take these turns: {error}.") from error
    try:
        return ids, maker.ends
    except (DataError, TemplateRefusal):
        return ids, frozenset()


@lru_cache(maxsize=1)  # each checkpoint of a run asks, and a large vocabulary is read for a second
def ends_of_answers(tokenizer: Tokenizer) -> frozenset[int]:
    """Gives the special tokens that end an answer; none without a template that roots can read."""
    if not tokenizer.settings.get("chat_template"):
        return frozenset()
    try:
        return Chat(tokenizer).ends
    except (UserError, TemplateRefusal):  # roots does not chat by it either
        return frozenset()
