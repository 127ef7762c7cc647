"""Numbers predicted for rows: correlations and the squared error."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from roots.metrics.summed import SummedMetric


class Regression(SummedMetric):
    """Measures numbers: `pearson`, `spearman` and `mse`, as GLUE's STS-B reports them.

    All pairs are kept, because the ranks of numbers do not add up.
    """

    pairs: list[Tensor] | Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("pairs", [], dist_reduce_fx="cat")  # 2 columns: predictions, labels

    def update(
        self,
        predictions: Float[Tensor, " N"],
        labels: Float[Tensor, " N"],
        keep: Bool[Tensor, " N"] | None = None,
    ) -> None:
        """Adds rows; those where `keep` is False count for nothing."""
        pairs = torch.stack([predictions.to(self.exact), labels.to(self.exact)], dim=-1)  # N 2
        assert isinstance(self.pairs, list)
        self.pairs.append(pairs if keep is None else pairs[keep])

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gathers the pairs of all ranks; one without rows gives none, in the others' type."""
        if not self.pairs:
            self.pairs = [torch.zeros(0, 2, dtype=self.exact, device=self.device)]
        super().sync(*args, **kwargs)

    def _values(self) -> dict[str, float]:
        pairs = self.pairs if isinstance(self.pairs, Tensor) else torch.cat(self.pairs)
        predictions, labels = pairs.cpu().double().unbind(-1)
        return {
            "pearson": correlation(predictions, labels),
            "spearman": correlation(ranks(predictions), ranks(labels)),
            "mse": float((predictions - labels).square().mean()),
        }


def correlation(one: Float[Tensor, " N"], other: Float[Tensor, " N"]) -> float:
    """Pearson's correlation, -1 to 1; nan for fewer than two rows or where one does not vary."""
    if len(one) < 2 or (one == one[0]).all() or (other == other[0]).all():
        return math.nan
    one, other = (t - t.mean() for t in (one, other))
    cosine = (one / one.norm()) @ (other / other.norm())
    return float(cosine.clamp(-1, 1))


def ranks(numbers: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """The rank of each number from 1 on; equal ones share the mean of theirs, nan makes all nan."""
    if numbers.isnan().any():
        return torch.full_like(numbers, torch.nan)
    _, group, size = numbers.unique(return_inverse=True, return_counts=True)
    middle: Tensor = size.cumsum(0) - (size - 1) / 2
    return middle.to(numbers)[group]
