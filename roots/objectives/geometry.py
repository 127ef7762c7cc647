"""How unlike two networks arrange the same positions, whatever the widths of their states.

Shape letters: B rows, T positions of a row, D and E the widths of two networks.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def unlikeness(
    ours: Float[Tensor, "B T D"], theirs: Float[Tensor, "B T E"], real: Bool[Tensor, "B T"]
) -> Float[Tensor, " B"]:
    """Gives 1 - linear CKA of the states that two networks have of a row's positions.

    0 where one is the other turned, mirrored, moved or scaled; 1 where they have nothing to do with
    each other. The widths may differ, so no projection has to be learned. A row with fewer than two
    different positions has nothing to compare, and gets 0.

    Args:
        ours: Of any float type; float32 is computed with.
        theirs: The same positions, without gradient.
        real: Which positions count; others only fill a row up.

    Returns:
        0 to 1 for each row, float32.

    Source:
        Kornblith et al., arXiv:1905.00414, eq. 3 and section 3.2, by the Gram matrices.
    """
    with torch.autocast(ours.device.type, enabled=False):
        mine, others = _gram(ours.float(), real), _gram(theirs.float(), real)  # B T T
        together, own, other = (
            (a * b).sum((1, 2)) for a, b in ((mine, others), (mine, mine), (others, others))
        )
        size = own * other
        some = size > 0
        alike = together / size.where(some, torch.ones_like(size)).sqrt()
        return (1 - alike).where(some, torch.zeros_like(alike))


def _gram(states: Float[Tensor, "B T D"], real: Bool[Tensor, "B T"]) -> Float[Tensor, "B T T"]:
    """Gives the products of a row's states with each other, around their mean and of size 1."""
    weight = real[..., None].to(states.dtype)  # B T 1
    n = weight.sum(1, keepdim=True).clamp(min=1)  # B 1 1
    apart = (states - (states * weight).sum(1, keepdim=True) / n) * weight
    spread = apart.detach().square().sum((1, 2), keepdim=True) / n
    apart = apart / spread.clamp(min=torch.finfo(states.dtype).tiny).sqrt()
    return apart @ apart.mT
