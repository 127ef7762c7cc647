"""Whether a probability means what it says."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from roots.batch import IGNORE
from roots.errors import ConfigError
from roots.metrics.classification import check_classes
from roots.metrics.summed import SummedMetric


class Calibration(SummedMetric):
    """Compares the confidence of predictions with how often they are right.

    Values: `ece`, the mean gap between the two over bins of confidence, weighted by their rows;
    `mce`, the largest gap; `confidence`, its mean. Details: `reliability`, for the diagram: the
    bins' `edges`, `count`, mean `confidence` and `accuracy` (None for an empty bin).

    Args:
        n_bins: How many bins of equal width the confidences, 0 to 1, are sorted into. An edge
            belongs to the bin below it.

    Raises:
        ConfigError: `n_bins` is not positive.

    Source:
        Guo et al., arXiv:1706.04599, eq. 2, 3 and 5, with their 15 bins.
    """

    rows: Tensor
    confidence: Tensor

    def __init__(self, *, n_bins: int = 15) -> None:
        super().__init__()
        if n_bins < 1:
            raise ConfigError(f"n_bins={n_bins} sorts nothing. Set it to 1 or more; 15 is usual.")
        self.n_bins = n_bins
        empty = torch.zeros(2, n_bins, dtype=torch.long)
        self.add_state("rows", empty, dist_reduce_fx="sum")  # 2 M: all, right
        empty = torch.zeros(n_bins, dtype=torch.float64)
        self.add_state("confidence", empty, dist_reduce_fx="sum")  # M

    def update(
        self,
        logits: Float[Tensor, "*rows C"],
        labels: Int[Tensor, "*rows"],
        keep: Bool[Tensor, "*rows"] | None = None,
    ) -> None:
        """Adds rows.

        Args:
            logits: Scores of the classes before the softmax.
            labels: Class numbers; rows of `IGNORE` (-100) count for nothing.
            keep: False for rows that count for nothing.

        Raises:
            DataError: A label that is no class.
        """
        kept = (labels != IGNORE if keep is None else (labels != IGNORE) & keep).flatten()  # N
        labels = labels.flatten().masked_fill(~kept, 0)  # N
        check_classes(labels[None], logits.shape[-1])
        confidence, classes = logits.flatten(0, -2).to(self.exact).softmax(-1).max(-1)  # N
        edges = torch.linspace(0, 1, self.n_bins + 1, dtype=self.exact, device=logits.device)
        bins = (torch.bucketize(confidence, edges) - 1).clamp(0, self.n_bins - 1)  # N
        right = torch.eq(classes, labels) & kept
        self.rows[0].scatter_add_(0, bins, kept.long())
        self.rows[1].scatter_add_(0, bins, right.long())
        self.confidence.scatter_add_(0, bins, confidence.masked_fill(~kept, 0))

    def _values(self) -> dict[str, float]:
        count, right = self.rows.cpu().double()
        confidence, n_rows = self.confidence.cpu().double(), float(count.sum())
        if not n_rows:
            return {"ece": math.nan, "mce": math.nan, "confidence": math.nan}
        gaps = (right - confidence).abs()  # M, times the bin's rows
        return {
            "ece": float(gaps.sum()) / n_rows,
            "mce": float((gaps / count.clamp(min=1)).max()),
            "confidence": float(confidence.sum()) / n_rows,
        }

    def _details(self) -> dict[str, Any]:
        count, right = self.rows.tolist()
        confidence = self.confidence.tolist()
        diagram = {
            "edges": [edge / self.n_bins for edge in range(self.n_bins + 1)],
            "count": count,
            "confidence": _per_row(confidence, count),
            "accuracy": _per_row(right, count),
        }
        return {"reliability": diagram}


def _per_row(sums: list[float], count: list[int]) -> list[float | None]:
    """Divides by the rows of each bin; None for an empty one, and where the sum is not finite."""
    each = (one / n if n else math.nan for one, n in zip(sums, count, strict=True))
    return [mean if math.isfinite(mean) else None for mean in each]
