"""Continuing a prompt, token by token, with a key-value cache.

Shape letters: T tokens fed at once, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from roots.errors import ConfigError
from roots.inference.sampling import Sampling, check_amount, check_seed, next_token
from roots.inference.streaming import TextStream
from roots.networks import uncompiled
from roots.networks.builder import first_position, n_positions
from roots.tokenizer import Tokenizer


def generate(
    network: PreTrainedModel,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    max_tokens: int = 200,
    temperature: float = 0.8,
    top_k: int = 0,
    top_p: float = 0.95,
    seed: int = 1,
    bos: bool = False,
) -> str:
    """Gives the text that follows `prompt`, without the prompt; the arguments are `stream`'s."""
    pieces = stream(
        network,
        tokenizer,
        prompt,
        max_tokens=max_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        bos=bos,
    )
    return "".join(pieces)


def stream(
    network: PreTrainedModel,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    max_tokens: int = 200,
    temperature: float = 0.8,
    top_k: int = 0,
    top_p: float = 0.95,
    seed: int = 1,
    bos: bool = False,
) -> Iterator[str]:
    """Gives the text that follows `prompt` piece by piece, each made of whole characters.

    Args:
        network: A causal language model, on any device, in training or not.
        tokenizer: What it reads.
        prompt: Taken literally; an empty one starts from the token that begins a text.
        max_tokens: Most tokens to add; fewer when the text ends by itself.
        temperature: See `Sampling`; 0 always takes the likeliest token.
        top_k: See `Sampling`; 0 is off.
        top_p: See `Sampling`; 1 is off.
        seed: The same seed gives the same text; the global random state is not touched.
        bos: Put the token that begins a text before the prompt, as Llama and Gemma expect.

    Raises:
        ConfigError: A value is out of its range, prompt and `max_tokens` do not fit into the
            network's positions, or the tokenizer does not belong to the network.
    """
    ids = prompt_ids(tokenizer, prompt, bos=bos)
    found = tokens(
        network,
        ids,
        max_tokens=max_tokens,
        sampling=Sampling(temperature=temperature, top_k=top_k, top_p=top_p),
        seed=seed,
        eos_id=eos_ids(network, tokenizer),
    )
    return _as_text(found, TextStream(tokenizer, after=ids))


def tokens(
    network: PreTrainedModel,
    prompt_ids: Sequence[int],
    *,
    max_tokens: int,
    sampling: Sampling,
    seed: int,
    eos_id: int | Collection[int] = (),
) -> Iterator[int]:
    """Gives the ids that follow `prompt_ids`, one by one, without the eos that ends them.

    Between two ids everything is as the caller had it: mode, gradients, random state.

    Args:
        network: A causal language model, on any device, in training or not.
        prompt_ids: At least one.
        max_tokens: Most ids to give.
        sampling: How the next id is chosen.
        seed: The same seed gives the same ids; the global random state is not touched.
        eos_id: The id or ids that end a text; `()` ends it nowhere.

    Raises:
        ConfigError: The ids do not fit the network, or more positions are asked for than it has.
    """
    check_amount(max_tokens)
    check_seed(seed)
    _check(network, prompt_ids, max_tokens)
    ends = frozenset([eos_id] if isinstance(eos_id, int) else eos_id)
    context = _Context(network)
    choose = _chooser(sampling, seed)
    return _tokens(context, list(prompt_ids), max_tokens, choose, ends)


def prompt_ids(tokenizer: Tokenizer, prompt: str, *, bos: bool = False) -> list[int]:
    """Encodes a prompt; an empty one becomes the token that begins a text."""
    ids = tokenizer.encode(prompt)
    return [tokenizer.bos_id, *ids] if bos or not ids else ids


def check_prompt(
    network: PreTrainedModel, tokenizer: Tokenizer, prompt: str, max_tokens: int
) -> None:
    """Raises ConfigError where a prompt cannot be continued by so many tokens."""
    _check(network, prompt_ids(tokenizer, prompt), max_tokens)


def eos_ids(network: PreTrainedModel, tokenizer: Tokenizer) -> frozenset[int]:
    """Collects the ids that end a text: the tokenizer's, and those that the network names."""
    named = getattr(network.generation_config, "eos_token_id", None)
    if named is None:
        return frozenset([tokenizer.eos_id])
    return frozenset([tokenizer.eos_id, *([named] if isinstance(named, int) else named)])


def most_positions(network: PreTrainedModel) -> int | None:
    """Tells after how many tokens a network cannot go on; None for one that can.

    A table of positions (GPT-2, OPT, GPT-J) ends; rotary positions are computed, and beyond
    `max_position_embeddings` they only get worse.
    """
    config = network.config.get_text_config(decoder=True)
    if getattr(config, "rope_parameters", None) is not None or getattr(config, "alibi", False):
        return None
    return n_positions(config)


def _as_text(ids: Iterator[int], text: TextStream) -> Iterator[str]:
    for id_ in ids:
        if piece := text.push(id_):
            yield piece
    if piece := text.finish():
        yield piece


def _tokens(
    context: _Context,
    fed: list[int],
    max_tokens: int,
    choose: Callable[[Float[Tensor, " V"]], int],
    ends: frozenset[int],
) -> Iterator[int]:
    for _ in range(max_tokens):
        id_ = choose(context.feed(fed))
        if id_ in ends:
            return
        yield id_
        fed = [id_]


def _chooser(sampling: Sampling, seed: int) -> Callable[[Float[Tensor, " V"]], int]:
    generator = torch.Generator().manual_seed(seed)

    def choose(logits: Float[Tensor, " V"]) -> int:
        chosen = next_token(
            logits,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            generator=generator,
        )
        return int(chosen)

    return choose


class _Context:
    """What the network has read so far: its cache, or all the ids where it keeps none of ours."""

    def __init__(self, network: PreTrainedModel) -> None:
        self.network = network
        self.device = network.get_input_embeddings().weight.device
        self.ids: list[int] = []
        takes = inspect.signature(network.forward).parameters
        self.has_cache = "past_key_values" in takes
        # of a class with a cache of its own (MiniMax), the first output brings it
        makes_its_own = network.can_generate() and not network._supports_default_dynamic_cache()
        ours = self.has_cache and not makes_its_own
        self.cache = DynamicCache(config=network.config) if ours else None
        # not all see from the cache how many were read (Bamba counts from 0 in each forward); those
        # that count from behind their padding token (RoBERTa) do, and would be told other numbers
        self.told_positions = "position_ids" in takes and not first_position(network.config)
        self.only_last = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}

    @torch.no_grad()  # not inference_mode: buffers made under it would break a later backward
    def feed(self, ids: list[int]) -> Float[Tensor, " V"]:
        """Reads further ids; gives the logits of what follows them."""
        self.ids += ids
        fed = ids if self.has_cache else self.ids
        input_ids = torch.tensor([fed], device=self.device)  # 1 T
        mask = torch.ones(1, len(self.ids), dtype=torch.long, device=self.device)
        with evaluating(self.network):
            output = self.network(
                input_ids=input_ids,
                attention_mask=mask,
                **self._positions(len(fed)),
                **self._cached(),
                **self.only_last,
            )
        if self.has_cache and self.cache is None:
            self.cache = output.past_key_values
            self.has_cache = self.cache is not None
        logits: Tensor = output.logits[0, -1]  # V
        return logits

    def _positions(self, n_fed: int) -> dict[str, Tensor]:
        if not self.told_positions:
            return {}
        n = len(self.ids)
        return {"position_ids": torch.arange(n - n_fed, n, device=self.device)[None]}  # 1 T

    def _cached(self) -> dict[str, Any]:
        if not self.has_cache:
            return {"use_cache": False}
        return {"past_key_values": self.cache, "use_cache": True}


@contextmanager
def evaluating(network: PreTrainedModel) -> Iterator[None]:
    """Switches dropout off; afterwards each part is in the mode that it was in."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        with uncompiled(network):
            yield
    finally:
        for module in training:
            module.training = True


def _check(network: PreTrainedModel, ids: Sequence[int], max_tokens: int) -> None:
    if not ids:
        raise ConfigError(
            "There is no token to start from. Give at least one id; the tokenizer's bos_id"
            " begins a text."
        )
    size = network.get_input_embeddings().num_embeddings  # the weight itself may be cut
    if not 0 <= min(ids) <= max(ids) < size:
        worst = max(ids) if max(ids) >= size else min(ids)
        raise ConfigError(
            f"The prompt has the token id {worst:,}, and the network has {size:,} embeddings."
            " Use the tokenizer that belongs to this network."
        )
    limit = most_positions(network)
    if limit is not None and len(ids) + max_tokens > limit:
        raise ConfigError(_too_long(len(ids), max_tokens, limit))


def _too_long(prompt: int, max_tokens: int, limit: int) -> str:
    if prompt >= limit:
        return (
            f"The prompt of {prompt:,} tokens fills the {limit:,} positions that this network has."
            f" Shorten it to at most {limit - 1:,} tokens."
        )
    return (
        f"A prompt of {prompt:,} tokens and max_tokens={max_tokens:,} are"
        f" {prompt + max_tokens:,} together, and this network has {limit:,} positions."
        f" Set max_tokens to at most {limit - prompt:,}, or shorten the prompt."
    )
