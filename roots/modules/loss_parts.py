"""The parts that a loss is reported in: summed over micro-batches and ranks, then divided."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from roots.batch import Score
from roots.errors import ConfigError
from roots.strategies import StepStrategy

MISCOUNTED = "miscounted"
"""The name, among the sums of a step, of how far its Scores' labels are from those it counts."""


def summed(scores: Sequence[Score], n_labels: Tensor) -> dict[str, Tensor]:
    """Adds up what the micro-batches of a step say: `loss` and its parts, without gradient.

    Args:
        scores: Of each micro-batch.
        n_labels: How many labels they should have together, 0-d.

    Raises:
        ConfigError: A part is missing in one of them, or called what the loss itself is.
    """
    for name in ("loss", MISCOUNTED):
        if any(name in score.parts for score in scores):
            raise ConfigError(
                f"A Score has a part {name!r}, which is the name of a number of every step. Call"
                " the part otherwise."
            )
    each = [{"loss": score.loss.detach(), **score.parts} for score in scores]
    for name in {name for sums in each for name in sums}:
        if any(name not in sums for sums in each):
            raise ConfigError(
                f"The Score of a micro-batch has the part {name!r}, and that of another of the same"
                f" step has none. Give it in each, as 0 where there is nothing of it."
            )
    sums = {name: torch.stack([sums[name] for sums in each]).sum() for name in each[0]}
    counted = torch.stack([score.n_labels for score in scores]).sum()
    return sums | {MISCOUNTED: (counted - n_labels).abs()}


def over_ranks(
    sums: dict[str, Tensor], asks_to_stop: bool, strategy: StepStrategy
) -> tuple[dict[str, Tensor], Tensor]:
    """Adds up the loss, its parts, and who asks to stop (above 0: somebody), in one collective."""
    stop = torch.full_like(sums["loss"], float(asks_to_stop))
    mine = torch.stack([*(value.to(stop) for value in sums.values()), stop])
    *totals, stops = strategy.sum_of_shares(mine).unbind()
    return dict(zip(sums, totals, strict=True)), stops


class LossParts:
    """The parts of the loss in an evaluation; none where a score has none.

    Args:
        dtype: What they are summed in.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._sums: dict[str, Tensor] = {}

    def add(self, score: Score) -> None:
        """Adds those of a micro-batch."""
        for name, value in score.parts.items():
            self._sums[name] = self._sums.get(name, 0) + value.to(self._dtype)

    def per_label(self, count: float, strategy: StepStrategy) -> dict[str, float]:
        """Adds the ranks up, and divides once; all ranks come here, with the same parts."""
        if not self._sums:
            return {}
        mine = torch.stack(list(self._sums.values()))
        sums = strategy.sum_of_shares(mine).tolist()
        return {name: value / count for name, value in zip(self._sums, sums, strict=True)}
