"""Several documents in one row, with attention and positions kept apart.

Shape letters: B rows, T tokens in a row, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel
from transformers.masking_utils import (
    create_bidirectional_mask,
    create_bidirectional_sliding_window_mask,
    packed_sequence_mask_function,
)

from roots.errors import ConfigError
from roots.networks.compiling import uncompiled
from roots.networks.unpacked import rows_are_packed

PADDING = -1
"""The document of what fills a row up."""

CANNOT_RUN = (TypeError, ValueError, RuntimeError, IndexError, AttributeError, AssertionError)
"""What networks raise that are given rows or a mask they do not understand; XLM's asserts."""
_TOLERANCE = 1e-5
_TOLERANCE_OF_HALF_PRECISION = 2e-2
_PROBED = ((7, 4, 3), (5, 9))  # lengths of the documents in two rows; the rest is padding
_PROBED_ROW = 16
_PROBED_WINDOW = 2


def packed_arguments(
    network: PreTrainedModel, input_ids: Int[Tensor, "B T"], document_ids: Int[Tensor, "B T"]
) -> dict[str, Any]:
    """Gives the arguments with which a network keeps the documents of a row apart.

    A causal network takes positions that begin anew with each document, and makes its masks from
    them: run it within `rows_are_packed()`, and give it no mask of any kind. An encoder does not
    look at positions for that and takes masks: one, or one for each kind of its layers.

    Whether they do is what `check_packing` finds out.

    Args:
        network: With or without a head.
        input_ids: Tokens of several documents in a row.
        document_ids: The document of each token: where it changes, another one begins. `PADDING`
            (-1) stands for what is none; it sees itself alone, and its logits mean nothing.

    Returns:
        Arguments of `network` and of its `base_model`.
    """
    runs = _runs(document_ids)  # B T
    arguments: dict[str, Any] = {"input_ids": input_ids}
    if _takes_positions(network):
        arguments["position_ids"] = _positions(network, runs, document_ids)
    if _is_causal(network):
        return {**arguments, "use_cache": False}
    return {**arguments, "attention_mask": _masks(network, runs)}


@torch.no_grad()
def check_packing(network: PreTrainedModel, asked_by: str = "") -> None:
    """Proves on two short rows that packed logits are those of each document alone.

    Windows of attention are made shorter than the documents for it. To be called before the
    network is compiled, and again where its attention is changed.

    Args:
        network: With weights, in the precision that it is trained in.
        asked_by: The setting that asks for it, for the message.

    Raises:
        ConfigError: They differ by more than 1e-5 of the largest (float32), or cannot be made.
    """
    if reason := _beyond_the_proof(network.config) or _proof(network):
        attention = network.config._attn_implementation
        raise ConfigError(
            f"{type(network).__name__} cannot keep the documents of a row apart"
            f"{f', as {asked_by} asks' if asked_by else ''}: {reason}"
            f" (attention: {attention}). Give each document a row of its own, or let the documents"
            " of a row see each other; of the architectures, GPT-2, Llama, Qwen3, Mistral, BERT,"
            " RoBERTa and ModernBERT can be packed, with network.attention set to sdpa or eager."
        )


# -- arguments ------------------------------------------------------------------------------------


def _runs(document_ids: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """Numbers the documents of each row anew, so that none comes twice."""
    return _begins(document_ids).cumsum(-1)


def _begins(document_ids: Int[Tensor, "B T"]) -> Bool[Tensor, "B T"]:
    begins = torch.ones_like(document_ids, dtype=torch.bool)
    begins[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    return begins


def _positions(
    network: PreTrainedModel, runs: Int[Tensor, "B T"], document_ids: Int[Tensor, "B T"]
) -> Int[Tensor, "B T"]:
    """Counts within each document, from where the network counts from."""
    places = torch.arange(runs.shape[1], device=runs.device).expand_as(runs)
    first = places.where(_begins(runs), 0).cummax(-1).values
    padding_id = _padding_position(network)
    if padding_id is None:
        return places - first
    return (places - first + padding_id + 1).masked_fill(document_ids == PADDING, padding_id)


def _padding_position(network: PreTrainedModel) -> int | None:
    """Finds the position of padding in RoBERTa and its kin, which count from the one behind it."""
    for module in network.base_model.modules():
        if hasattr(module, "create_position_ids_from_input_ids"):
            found: int | None = getattr(module, "padding_idx", None)
            return found
    return None


def _masks(network: PreTrainedModel, runs: Int[Tensor, "B T"]) -> Any:
    """Makes the masks of an encoder, in the form that its attention takes."""
    embedded = torch.empty(*runs.shape, 1, dtype=network.dtype, device=runs.device)
    apart = packed_sequence_mask_function(runs)
    config = network.config
    full = create_bidirectional_mask(config, embedded, None, and_mask_function=apart)
    if "sliding_attention" not in (getattr(config, "layer_types", None) or ()):
        return full
    sliding = create_bidirectional_sliding_window_mask(
        config, embedded, None, and_mask_function=apart
    )
    return {"full_attention": full, "sliding_attention": sliding}


def _takes_positions(network: PreTrainedModel) -> bool:
    return "position_ids" in inspect.signature(network.base_model.forward).parameters


def _is_causal(network: PreTrainedModel) -> bool:
    return any(getattr(module, "is_causal", False) for module in network.base_model.modules())


# -- the proof ------------------------------------------------------------------------------------


def _beyond_the_proof(config: Any) -> str:
    """Says what of a network two short rows would not show; nothing where they show all."""
    try:
        getattr(config, "sliding_window", None)
    except RuntimeError:  # transformers refuses to give one value for layers that differ
        return "its layers have windows of different lengths"
    for key in ("index_topk", "index_topk_blocks"):
        if chosen := getattr(config, key, None):
            return f"its layers choose which tokens of a row are seen ({key}: {chosen})"
    return ""


def _proof(network: PreTrainedModel) -> str:
    mode = network.training
    network.eval()
    try:
        with uncompiled(network), _short_windows(network.config):
            return _why_not(network)
    finally:
        network.train(mode)


def _why_not(network: PreTrainedModel) -> str:
    """Says what keeps a network from being packed; nothing where it can be."""
    if network.config.is_encoder_decoder:
        return "it is an encoder and a decoder"
    if _is_causal(network) and not _takes_positions(network):
        return "it takes no positions"
    input_ids, document_ids = _probe(network)
    try:
        with rows_are_packed():
            packed = network(**packed_arguments(network, input_ids, document_ids)).logits
    except CANNOT_RUN as error:
        return f"it takes no mask that keeps documents apart ({error})"
    alone = [network(input_ids=document[None]).logits[0] for document in _documents(input_ids)]
    own = torch.cat(alone)  # N V, N tokens in all documents
    tolerance = tolerance_of(own)
    if _influence(network, input_ids[0, : _PROBED[0][0]]) < 10 * tolerance:
        return "its logits hardly depend on other tokens, so that nothing can be seen from them"
    apart = (packed[document_ids != PADDING] - own).abs().max().float()
    if not apart <= tolerance:  # nan is not
        return f"its logits differ by {apart / own.abs().max().float():.2g} of the largest"
    return ""


def _probe(network: PreTrainedModel) -> tuple[Int[Tensor, "2 T"], Int[Tensor, "2 T"]]:
    document_ids = torch.full((2, _PROBED_ROW), PADDING, device=network.device)
    for row, lengths in enumerate(_PROBED):
        numbers = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
        document_ids[row, : len(numbers)] = numbers
    return probe_rows(network, _PROBED_ROW), document_ids


def probe_rows(network: PreTrainedModel, length: int) -> Int[Tensor, "2 T"]:
    """Makes two rows of tokens that differ, none of them that which fills up."""
    config = network.config
    padding_id = getattr(config, "pad_token_id", None)
    ids = [id_ for id_ in range(min(config.vocab_size, 64)) if id_ != padding_id]
    places = torch.arange(2 * length, device=network.device) * 5 % len(ids)
    return torch.tensor(ids, device=network.device)[places].view(2, length)


def _documents(input_ids: Int[Tensor, "2 T"]) -> Iterator[Int[Tensor, " length"]]:
    for row, lengths in zip(input_ids, _PROBED, strict=True):
        yield from row[: sum(lengths)].split(list(lengths))


def tolerance_of(logits: Float[Tensor, "*N"]) -> float:
    """Gives how far from logits others may be that are the same but for rounding."""
    share = _TOLERANCE if logits.dtype.itemsize >= 4 else _TOLERANCE_OF_HALF_PRECISION
    return share * float(logits.abs().max())


def _influence(network: PreTrainedModel, document: Int[Tensor, " length"]) -> float:
    """Measures how much the last token's logits change with the tokens before it."""
    other = document.clone()
    other[:-1] = document[:-1].flip(0)
    before, after = (network(input_ids=ids[None]).logits[0, -1] for ids in (document, other))
    return float((before - after).abs().max())


@contextmanager
def _short_windows(config: Any) -> Iterator[None]:
    """Makes sliding windows shorter than the probe's documents while the block runs."""
    if not getattr(config, "sliding_window", None):
        yield
        return
    before = dict(vars(config))
    config.sliding_window = min(config.sliding_window, _PROBED_WINDOW)
    try:
        yield
    finally:
        vars(config).update(before)
