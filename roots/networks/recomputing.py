"""Activation checkpointing: blocks forget what they computed and compute it again for the backward.

It is put around the forward of a block, inside of whatever hooks a strategy adds, so names and
weights stay. Projection and loss lie outside the blocks: the fused loss does all its work in the
forward pass, and is never run twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from roots.errors import ConfigError, nearest

RECOMPUTE = ("none", "full", "selective")

_aten = torch.ops.aten
KEPT = frozenset(
    {
        _aten.mm.default,
        _aten.addmm.default,
        _aten.bmm.default,
        _aten.baddbmm.default,
        _aten._grouped_mm.default,
        _aten._scaled_dot_product_flash_attention_for_cpu.default,
        _aten._scaled_dot_product_flash_attention.default,
        _aten._scaled_dot_product_efficient_attention.default,
        _aten._scaled_dot_product_cudnn_attention.default,
    }
)
"""What `selective` keeps: matrix products and attention, which are slow to make again. Norms,
activations, rotary positions, casts and dropout are made again."""


def check_recompute(mode: str, every_blocks: int) -> None:
    """Raises ConfigError when there is no such mode, or no such block."""
    if mode not in RECOMPUTE:
        raise ConfigError(
            f"There is no activation_checkpointing: {mode}{nearest(mode, RECOMPUTE)}."
            f" Set it to one of {', '.join(RECOMPUTE)}."
        )
    if every_blocks < 1:
        raise ConfigError(
            f"checkpoint_every_blocks={every_blocks} is no number of blocks. Set it to 1 for every"
            " block, to 2 for every second, …"
        )
    if every_blocks > 1 and mode == "none":
        raise ConfigError(
            f"checkpoint_every_blocks={every_blocks} does nothing with activation_checkpointing:"
            " none. Set that to full or selective, or leave the blocks out."
        )


def recompute(blocks: Sequence[nn.Module], mode: str, *, every_blocks: int = 1) -> None:
    """Makes blocks recompute their activations in the backward pass.

    Args:
        blocks: Those of a network; their forward is replaced in place.
        mode: One of `RECOMPUTE`.
        every_blocks: Only the first of so many blocks recomputes; the others keep everything.

    Raises:
        ConfigError: There is no such mode.

    Source:
        Chen et al., arXiv:1604.06174; selectively: Korthikanti et al., arXiv:2205.05198, section 5.
    """
    check_recompute(mode, every_blocks)
    if mode == "none":
        return
    for block in blocks[::every_blocks]:
        block.forward = partial(_recomputed, block.forward, mode)


def _recomputed(forward: Callable[..., Any], mode: str, *inputs: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs, **named)
    how: dict[str, Any] = {"context_fn": _keep_what_is_slow} if mode == "selective" else {}
    return checkpoint(forward, *inputs, use_reentrant=False, **how, **named)


def _keep_what_is_slow() -> Any:
    return create_selective_checkpoint_contexts(_policy)


def _policy(_context: Any, operation: Any, *_: Any, **__: Any) -> CheckpointPolicy:
    kept = operation in KEPT
    return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE
