"""Several labels per row, each there or not."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from roots.batch import IGNORE
from roots.errors import ConfigError, DataError
from roots.metrics.precision_recall import macro, micro, per_class
from roots.metrics.summed import SummedMetric, logged_names


class MultiLabel(SummedMetric):
    """Measures labels of which a row may have none, one or several.

    Values: `precision_micro`, `recall_micro`, `f1_micro`, the same `_macro`, `subset_accuracy` (the
    share of rows with all labels right), and `precision/NAME`, `recall/NAME`, `f1/NAME` of each
    label.

    Args:
        names: Names of the labels, in the order of their columns.
        threshold: A label is predicted where its probability, the sigmoid of its logit, is above
            this; more than 0 and less than 1.

    Raises:
        ConfigError: No names, two that would be logged as one, or a threshold outside 0 to 1.
    """

    counts: Tensor
    rows: Tensor

    def __init__(self, *, names: Sequence[str], threshold: float = 0.5) -> None:
        super().__init__()
        if not 0 < threshold < 1:
            raise ConfigError(
                f"threshold={threshold:g} is no probability that could decide."
                " Set it to more than 0 and less than 1; 0.5 is usual."
            )
        self.names = logged_names(names, of="labels")
        self.threshold = threshold
        empty = torch.zeros(3, len(names), dtype=torch.long)
        self.add_state("counts", empty, dist_reduce_fx="sum")  # 3 L: hits, predicted, labelled
        empty = torch.zeros(2, dtype=torch.long)
        self.add_state("rows", empty, dist_reduce_fx="sum")  # all labels right, all rows

    def update(
        self,
        logits: Float[Tensor, "N L"],
        labels: Shaped[Tensor, "N L"],
        keep: Bool[Tensor, " N"] | None = None,
    ) -> None:
        """Adds rows.

        Args:
            logits: The score of each label before the sigmoid.
            labels: 1 or 0, of any type; an `IGNORE` (-100) counts for nothing, nor does a row of
                them.
            keep: False for rows that count for nothing.

        Raises:
            DataError: A label that is neither 0, 1 nor -100.
        """
        known = labels != IGNORE if keep is None else (labels != IGNORE) & keep[:, None]
        truth = labels.masked_fill(~known, 0)
        self._check(truth)
        at = math.log(self.threshold / (1 - self.threshold))
        predicted, labelled = (logits.float() > at) & known, truth == 1
        found = torch.stack([predicted & labelled, predicted, labelled])  # 3 N L
        self.counts += found.sum(1)
        counted = known.any(-1)
        right = (predicted == labelled).all(-1) & counted
        self.rows += torch.stack([right.sum(), counted.sum()])

    def _check(self, truth: Shaped[Tensor, "N L"]) -> None:
        wrong = (truth != 0) & (truth != 1)
        if wrong.any():
            row, column = wrong.nonzero()[0].tolist()
            raise DataError(
                f"Row {row} of the batch has {float(truth[row, column]):g} as its label"
                f" {self.names[column]!r}. Give 1 where a label is there, 0 where it is not, and"
                " -100 where it should not count."
            )

    def _values(self) -> dict[str, float]:
        right, n_rows = self.rows.tolist()
        subset = {"subset_accuracy": right / n_rows if n_rows else math.nan}
        counts = self.counts.cpu()
        return micro(counts) | macro(counts) | subset | per_class(counts, self.names)
