"""Weights that stay as they are."""

from __future__ import annotations

from transformers import PreTrainedModel

from roots.errors import ConfigError
from roots.networks.blocks import blocks_of


def freeze(network: PreTrainedModel, n_layers: int) -> str:
    """Keeps the embeddings and the lowest layers of a network, or all of its body, as they are.

    Args:
        network: Changed in place; the head is always trained.
        n_layers: How many layers are kept; -1 keeps the whole body.

    Returns:
        What was done, in words.

    Raises:
        ConfigError: There are fewer layers.
    """
    body, blocks = network.base_model, blocks_of(network)
    if not -1 <= n_layers <= len(blocks):
        raise ConfigError(
            f"frozen_layers={n_layers}, and {type(network).__name__} has {len(blocks)} layers."
            f" Set network.frozen_layers from 0 to {len(blocks)}, or to -1 for the whole body."
        )
    if n_layers == -1:
        body.requires_grad_(False)
        kept, what = body, "the whole body"
    else:
        inside = {id(p) for block in blocks for p in block.parameters()}
        first = next(iter(blocks[0].parameters()))
        for parameter in body.parameters():
            if parameter is first:
                break
            if id(parameter) not in inside:
                parameter.requires_grad_(False)
        network.get_input_embeddings().requires_grad_(False)
        for block in blocks[:n_layers]:
            block.requires_grad_(False)
        kept, what = body, f"the embeddings and {n_layers} of {len(blocks)} layers"
    n_kept = sum(p.numel() for p in kept.parameters() if not p.requires_grad)
    return f"network: {what} are kept as they are ({n_kept:,} parameters)"
