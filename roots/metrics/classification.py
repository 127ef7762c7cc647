"""Classes of rows or tokens: accuracy, precision, recall, F1, MCC, all from one table of counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from roots.batch import IGNORE
from roots.errors import DataError
from roots.metrics.precision_recall import macro, per_class
from roots.metrics.summed import SummedMetric, logged_names


class Classification(SummedMetric):
    """Measures one class per row.

    Values: `accuracy`; `precision_macro`, `recall_macro`, `f1_macro`; `mcc`; and `precision/NAME`,
    `recall/NAME`, `f1/NAME` of each class. Details: `confusion`, whose rows are labels and columns
    predictions.

    Args:
        names: Names of the classes, in the order of their numbers.
        each_class: Give the values of each class too; False keeps the log of many classes short.

    Raises:
        ConfigError: Fewer than two names, or two that would be logged as one.

    Source:
        MCC of several classes: Gorodkin, Comput. Biol. Chem. 28 (2004), eq. 8 (R_K); 0 where all
        labels, or all predictions, are of one class.
    """

    confusion: Tensor

    def __init__(self, *, names: Sequence[str], each_class: bool = True) -> None:
        super().__init__()
        self.names = logged_names(names, of="classes", fewest=2)
        self.each_class = each_class
        empty = torch.zeros(len(names), len(names), dtype=torch.long)
        self.add_state("confusion", empty, dist_reduce_fx="sum")  # C C: labels, predictions

    def update(
        self,
        predictions: Float[Tensor, "*rows C"] | Int[Tensor, "*rows"],
        labels: Int[Tensor, "*rows"],
        keep: Bool[Tensor, "*rows"] | None = None,
    ) -> None:
        """Adds rows.

        Args:
            predictions: Scores of the classes, of which the greatest counts, or class numbers.
            labels: Class numbers; rows of `IGNORE` (-100) count for nothing.
            keep: False for rows that count for nothing.

        Raises:
            DataError: A label or a prediction that is no class.
        """
        classes = predictions.argmax(-1) if predictions.is_floating_point() else predictions
        kept = labels != IGNORE if keep is None else (labels != IGNORE) & keep
        pairs = torch.stack([labels, classes]).long().masked_fill(~kept, 0).flatten(1)  # 2 N
        check_classes(pairs, len(self.names))
        cells = pairs[0] * len(self.names) + pairs[1]  # N
        self.confusion.view(-1).scatter_add_(0, cells, kept.flatten().long())

    def _values(self) -> dict[str, float]:
        table = self.confusion.cpu()
        n_rows, hits = int(table.sum()), table.diagonal()
        counts = torch.stack([hits, table.sum(0), table.sum(1)])
        values = {"accuracy": int(hits.sum()) / n_rows if n_rows else math.nan}
        values |= macro(counts) | {"mcc": matthews(table)}
        return values | per_class(counts, self.names) if self.each_class else values

    def _details(self) -> dict[str, Any]:
        return {"confusion": {"names": self.names, "counts": self.confusion.tolist()}}


def check_classes(numbers: Int[Tensor, "rows N"], n_classes: int) -> None:
    """Refuses labels (the first row) and predictions (the second, where there is one) of no class.

    Raises:
        DataError: A number below 0, or `n_classes` or more.
    """
    outside = (numbers < 0) | (numbers >= n_classes)
    if outside.any():
        what = "label" if outside[0].any() else "prediction"
        raise DataError(
            f"A {what} is {int(numbers[outside][0])}, and the {n_classes} classes are 0 to"
            f" {n_classes - 1}. Make the network and the metric with all classes, and give -100 to"
            " rows that should not count."
        )


def matthews(confusion: Int[Tensor, "C C"]) -> float:
    """The correlation of labels (rows) and predictions (columns), -1 to 1; nan without rows."""
    labelled, predicted = confusion.sum(1).tolist(), confusion.sum(0).tolist()
    # in whole numbers of any length: the fourth power of a count overflows int64 at 55,000 rows
    n_rows, hits = sum(labelled), int(confusion.diagonal().sum())
    if not n_rows:
        return math.nan
    both = hits * n_rows - sum(a * b for a, b in zip(labelled, predicted, strict=True))
    spread = [n_rows**2 - sum(count**2 for count in counts) for counts in (labelled, predicted)]
    return both / math.sqrt(spread[0] * spread[1]) if all(spread) else 0.0
