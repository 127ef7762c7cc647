"""Dropout on a CPU from a quarter of the random words.

torch draws 64 random bits for each value and decides by a double; on a CPU it does so on one core,
which is a tenth of a fine-tuning step. 16 bits decide as well: the probability is then a multiple
of 1/65,536, and the values that stay are scaled by what was really drawn.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

LEVELS = 2**16


class QuickDropout(nn.Module):
    """Sets values to zero with probability `p`, while training, and scales the others up.

    Args:
        p: The probability, 0 to 1; rounded to a multiple of 1/65,536.

    Source:
        Srivastava et al., JMLR 15 (2014), section 10, "inverted" as everywhere today.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, values: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Drops some values; in evaluation, none."""
        cut = round(self.p * LEVELS)
        if not self.training or not cut:
            return values
        dropped: Tensor = _Dropout.apply(values, cut)
        return dropped

    def extra_repr(self) -> str:
        """Shows the probability."""
        return f"p={self.p}"


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, cut: int) -> Tensor:
        dropped = _below(values, cut)
        ctx.save_for_backward(dropped)
        ctx.scale = LEVELS / max(LEVELS - cut, 1)
        return values.masked_fill(dropped, 0).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *by_output: Tensor) -> tuple[Tensor, None]:
        (dropped,) = ctx.saved_tensors
        return by_output[0].masked_fill(dropped, 0).mul_(ctx.scale), None


def _below(like: Tensor, cut: int) -> Tensor:
    """Draws for each value whether 16 random bits are below `cut`; four values share a word."""
    n_values = like.numel()
    words = torch.empty(-(-n_values // 4), dtype=torch.int64)
    words.random_(-(2**63), 2**63 - 1)
    bits = words.view(torch.int16)[:n_values].view(like.shape)
    return bits < cut - LEVELS // 2 if cut < LEVELS else torch.ones_like(bits, dtype=torch.bool)


def quicken_dropout(network: nn.Module, device: torch.device) -> None:
    """Puts it in place of torch's dropout layers; only on a CPU, and names and weights stay."""
    if device.type != "cpu":
        return
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, QuickDropout(child.p).train(child.training))
