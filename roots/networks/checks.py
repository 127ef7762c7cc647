"""What is refused of a network: unknown keys, too few embeddings, what its attention cannot do."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable

import torch
from transformers import AttentionInterface, PretrainedConfig, PreTrainedModel

from roots.errors import ConfigError, nearest
from roots.networks.head import CAUSAL_LM, Head
from roots.networks.tiled import TILED
from roots.records import Vocabulary


def check_keys(keys: Iterable[str], family: type[PretrainedConfig]) -> None:
    """Raises ConfigError for a key that an architecture's configuration does not have."""
    known = {key for key in vars(family()) if not key.startswith("_")}
    known |= set(family.attribute_map)
    if "rope_parameters" in known:  # transformers still reads the two that it made one of
        known |= {"rope_theta", "rope_scaling"}
    unknown = [key for key in keys if key not in known and key != "model_type"]
    if unknown:
        known |= _asked_for(family)
    for key in unknown:
        if key not in known:
            raise ConfigError(
                f"{key!r} is no key of {family.__name__}{nearest(key, known)}."
                f" Correct network.config.{key} or leave it out."
            )


def _asked_for(family: type[PretrainedConfig]) -> set[str]:
    """Lists keys that a family's code reads where they are, such as `head_dim` of Qwen3-MoE."""
    name = family.__module__.replace(".configuration_", ".modeling_")
    try:
        code = inspect.getsource(importlib.import_module(name))
    except (ImportError, OSError, TypeError):
        return set()
    return set(re.findall(r'getattr\((?:self\.)?config, "(\w+)"', code))


def check_vocabulary(config: PretrainedConfig, vocabulary: Vocabulary | None) -> None:
    """Raises ConfigError when the network has fewer embeddings than the data has token ids."""
    if vocabulary is not None and config.vocab_size < vocabulary.size:
        raise ConfigError(
            f"The network has {config.vocab_size:,} embeddings and the data {vocabulary.size:,}"
            f" token ids. Use the tokenizer that belongs to this network (corpus tokenizer:"
            f" roots.corpus.Existing), or set the network's vocab_size to at least"
            f" {vocabulary.size:,}."
        )


def check_attention_name(name: str) -> None:
    """Raises ConfigError for an attention that nobody has, long before a network is built with it.

    Whether its package is installed is left to `build`: a plan may be for other machines. A name
    with `/` is that of a kernel on the hub, and one with `|` is of transformers' paged ones.
    """
    known = ["auto", "eager", *AttentionInterface().valid_keys()]
    if name not in known and "/" not in name and "|" not in name:
        said = ", ".join(each for each in known if "|" not in each)
        raise ConfigError(
            f"There is no attention {name!r}{nearest(name, known)}. Set network.attention to one of"
            f" {said}, or to the name of a kernel on the Hugging Face hub."
        )


def check_attention(network: PreTrainedModel, name: str, head: Head = CAUSAL_LM) -> None:
    """Raises ConfigError for tiled attention in a network whose layers ask for more than that."""
    if name == TILED and not head.is_causal:
        raise ConfigError(
            f"A {head.kind} sees padded rows or both sides, which `tiled` does not do."
            " Set network.attention to auto, sdpa or eager."
        )
    if name == TILED and not network._supports_sdpa:
        raise ConfigError(
            f"{type(network).__name__} asks its attention for more than `tiled` does (transformers"
            " does not run it with sdpa either). Set network.attention to auto or eager."
        )


@torch.no_grad()
def check_causal(network: PreTrainedModel, tolerance: float = 1e-5) -> PreTrainedModel:
    """Gives the network back; raises ConfigError when a position sees the tokens behind it.

    transformers counts BERT and its kin among the causal language models, and runs them without a
    causal mask unless told otherwise: they would read each target instead of predicting it.
    """
    n_ids, mode = network.config.vocab_size, network.training
    tokens = torch.arange(8, device=network.device).remainder(n_ids)[None]  # 1 8
    other = tokens.clone()
    other[0, -1] = (other[0, -1] + 1) % n_ids
    network.eval()
    before, after = (network(input_ids=t, use_cache=False).logits[0, :-1] for t in (tokens, other))
    network.train(mode)
    apart = (before - after).abs().max()
    if before.isnan().any() or after.isnan().any():
        raise ConfigError(
            f"{type(network).__name__} gives logits that are no numbers (nan): some of its weights"
            " are broken. Bring whole ones, or start from scratch."
        )
    if apart > tolerance * before.abs().max():
        raise ConfigError(
            f"{type(network).__name__} sees the tokens that it should predict: changing the last of"
            f" {tokens.shape[1]} changed its logits before it. Set is_decoder: true in the"
            " network's config, or use an architecture such as llama, gpt2 or qwen3."
        )
    return network
