"""Whether what a network says of a row depends on the places that fill it up."""

from __future__ import annotations

import inspect

import torch
from torch import Tensor
from transformers import PreTrainedModel

from roots.networks.packing import CANNOT_RUN, probe_rows, tolerance_of

_LENGTHS = (24, 9)  # of two rows, the second filled up to the first


@torch.no_grad()
def reads_padding(network: PreTrainedModel) -> str:
    """Says how much what a network says of a row changes with the length of the row beside it.

    Networks with attention leave out what an attention mask hides. FNet mixes all places of a row,
    and ConvBERT's convolutions reach behind its end.

    Args:
        network: With weights and a head, before it is compiled.

    Returns:
        The change in words; nothing where there is none, or where it cannot be seen: a network that
        is not run on short rows, or one with sparse attention, which they would turn off.
    """
    if getattr(network.config, "attention_type", "") == "block_sparse":
        return ""
    mode = network.training
    network.eval()
    try:
        apart = _difference(network)
    except CANNOT_RUN:
        return ""
    finally:
        network.train(mode)
    if not apart:
        return ""
    return (
        f"padding: {type(network).__name__} reads the places that fill a row up (a longer row"
        f" beside it changed what it says by {apart:.2g} of the largest), so that its numbers"
        " depend on which rows share a micro-batch; model.micro_batch_size: 1 fills nothing up"
    )


def _difference(network: PreTrainedModel) -> float:
    """Compares a row by itself with the same row beside a longer one.

    Returns:
        The largest difference that rounding does not explain, as a share of the largest value; 0
        where there is none.
    """
    longest, length = _LENGTHS
    input_ids = probe_rows(network, longest)
    seen = torch.ones_like(input_ids)
    input_ids[1, length:] = getattr(network.config, "pad_token_id", None) or 0
    seen[1, length:] = 0
    beside = _said(network, input_ids, seen)
    alone = _said(network, input_ids[1:, :length], seen[1:, :length])
    differences = [0.0]
    for mine, filled in zip(alone, beside, strict=True):
        row = filled[1]  # ... or T ...
        own = row[:length] if row.ndim and len(row) == longest else row
        apart = float((own - mine[0]).abs().max())
        if apart > tolerance_of(mine):
            differences.append(apart / (float(mine.abs().max()) or 1.0))
    return max(differences)


def _said(network: PreTrainedModel, input_ids: Tensor, seen: Tensor) -> list[Tensor]:
    """Runs a network; gives its logits, or those of begin and end."""
    takes_mask = "attention_mask" in inspect.signature(network.forward).parameters
    said = network(input_ids, attention_mask=seen) if takes_mask else network(input_ids)
    return [said[name] for name in said if name.endswith("logits")]
