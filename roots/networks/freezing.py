"""Weights that stay as they are."""

from __future__ import annotations

import re

from torch import nn
from transformers import PreTrainedModel

from roots.errors import ConfigError
from roots.networks.blocks import blocks_of
from roots.networks.lora import heads_of


def freeze(network: PreTrainedModel, n_layers: int) -> str:
    """Keeps the embeddings and the lowest layers of a network, or all of its body, as they are.

    Args:
        network: Changed in place; the head is trained, unless it is the embeddings (tied).
        n_layers: How many layers are kept; -1 keeps the whole body.

    Returns:
        What was done, in words.

    Raises:
        ConfigError: There are fewer layers, or nothing is left to train.
    """
    body, blocks = network.base_model, blocks_of(network)
    if not -1 <= n_layers <= len(blocks):
        raise ConfigError(
            f"frozen_layers={n_layers}, and {type(network).__name__} has {len(blocks)} layers."
            f" Set network.frozen_layers from 0 to {len(blocks)}, or to -1 for the whole body."
        )
    if n_layers == -1:
        _freeze_body(network)
        what = "the whole body"
    else:
        _freeze_below(network, blocks, n_layers)
        what = f"the embeddings and {n_layers} of {len(blocks)} layers"
    if not any(p.requires_grad for p in network.parameters()):
        raise ConfigError(
            f"frozen_layers={n_layers} keeps all of this {type(network).__name__} as it is: its"
            " head is its embedding matrix (tied), and nothing is left to train. Set"
            f" network.frozen_layers to at most {len(blocks) - 1}, or train an adapter"
            " (network.adapter)."
        )
    if _has_tied_head(network):
        what += ", with them the head, which is tied,"
    n_kept = sum(p.numel() for p in body.parameters() if not p.requires_grad)
    return f"network: {what} are kept as they are ({n_kept:,} parameters)"


def _freeze_body(network: PreTrainedModel) -> None:
    """Keeps all but the head; T5 is its own body, of which the projection is a part."""
    network.base_model.requires_grad_(False)
    if network.base_model is network and not _has_tied_head(network):
        for name in heads_of(network):
            network.get_submodule(name).requires_grad_(True)


def _freeze_below(network: PreTrainedModel, blocks: list[nn.Module], n_layers: int) -> None:
    """Keeps the embeddings and the lowest of the blocks.

    Embeddings go by their kind and their names: OPT registers its last norm before its layers,
    BART the norm of its embeddings behind them.
    """
    inside = {id(p) for block in blocks for p in block.parameters()}
    for name, module in network.base_model.named_modules():
        for key, parameter in module.named_parameters(recurse=False):
            embeds = isinstance(module, nn.Embedding) or _EMBEDS(f"{name}.{key}")
            if embeds and id(parameter) not in inside:
                parameter.requires_grad_(False)
    network.get_input_embeddings().requires_grad_(False)
    for block in blocks[:n_layers]:
        block.requires_grad_(False)


_EMBEDS = re.compile(r"emb(?!edding_norm|_layer_norm_after)|project_in").search
"""What belongs to the embeddings by its name; the two that do not are last norms, LFM2's, ESM's."""


def _has_tied_head(network: PreTrainedModel) -> bool:
    head = network.get_output_embeddings()
    return head is not None and head.weight is network.get_input_embeddings().weight
