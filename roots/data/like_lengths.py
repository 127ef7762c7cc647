"""Steps whose rows are of like length, still as a pure function of (seed, step).

Some dozens of steps' rows are taken from the shuffled stream at a time, sorted by length, cut into
steps, and the steps are shuffled. So a step wastes little on filling rows up, each row comes once
in an epoch, and any step is found without those before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Int64

from roots.data.order import permute, samples_at

STEPS_TOGETHER = 50
"""Steps that are sorted together, as many as Hugging Face's length-grouped sampler takes."""


class LikeLengths:
    """Gives the rows of each step, by length.

    Args:
        lengths: Of each row, (R,).
        rows_per_step: S.
        seed: Decides the order.
        sorts: Sort by length; False leaves the shuffled order as it is.
    """

    def __init__(
        self,
        lengths: Int64[np.ndarray, " R"],
        *,
        rows_per_step: int,
        seed: int,
        sorts: bool = True,
    ) -> None:
        self.lengths = lengths
        self.rows_per_step = rows_per_step
        self.seed = seed
        self.sorts = sorts
        self._block = lru_cache(maxsize=4)(self._block_of)
        self._counted = (0, 0)  # a step, and the tokens of all steps before it

    def samples(self, step: int) -> Int64[np.ndarray, " S"]:
        """Gives the rows of a step, the longest first where they are sorted."""
        return self._rows_at(self.positions(step))

    def before(self, step: int) -> int:
        """Counts the rows of all steps before `step`."""
        return step * self.rows_per_step

    def positions(self, step: int) -> Int64[np.ndarray, " S"]:
        """Gives where in the shuffled stream the rows of a step are; every R are one epoch."""
        if not self.sorts:
            return self._stream(step, step + 1)
        first, stop = self._bounds(step)
        mine: Int64[np.ndarray, " S"] = self._block(first, stop)[step - first]
        return mine

    def tokens_until(self, step: int) -> int:
        """Counts the tokens of all steps before `step`; cheap when asked in rising order."""
        at, tokens = self._counted if self._counted[0] <= step else (0, 0)
        begin = self._begin(self._epoch(step))
        if at < begin:
            at, tokens = begin, self._tokens_before_epoch(self._epoch(step))
        tokens += sum(int(self.lengths[self.samples(n)].sum()) for n in range(at, step))
        self._counted = (step, tokens)
        return tokens

    def _tokens_before_epoch(self, epoch: int) -> int:
        """Counts those of whole epochs, and of the rows that the last step took from the next."""
        n_rows = len(self.lengths)
        ahead = self._begin(epoch) * self.rows_per_step - epoch * n_rows
        positions = np.arange(epoch * n_rows, epoch * n_rows + ahead, dtype=np.int64)
        taken = samples_at(positions, n_samples=n_rows, seed=self.seed)
        return epoch * int(self.lengths.sum()) + int(self.lengths[taken].sum())

    def _bounds(self, step: int) -> tuple[int, int]:
        """Gives the steps that are sorted together with `step`: they end with its epoch at last."""
        begin, end = (self._begin(self._epoch(step) + n) for n in (0, 1))
        first = begin + (step - begin) // STEPS_TOGETHER * STEPS_TOGETHER
        return first, min(first + STEPS_TOGETHER, end)

    def _epoch(self, step: int) -> int:
        return step * self.rows_per_step // len(self.lengths)

    def _begin(self, epoch: int) -> int:
        """Gives the first step that begins in an epoch."""
        return math.ceil(epoch * len(self.lengths) / self.rows_per_step)

    def _block_of(self, first: int, stop: int) -> Int64[np.ndarray, "K S"]:
        positions = self._stream(first, stop)
        lengths = self.lengths[self._rows_at(positions)]
        by_length = positions[np.argsort(-lengths, kind="stable")]
        steps = by_length.reshape(-1, self.rows_per_step)
        order = np.arange(len(steps), dtype=np.int64)
        shuffled: Int64[np.ndarray, "K S"] = steps[
            permute(order, len(steps), key=(self.seed, first, stop))
        ]
        return shuffled

    def _stream(self, first: int, stop: int) -> Int64[np.ndarray, " N"]:
        size = self.rows_per_step
        return np.arange(first * size, stop * size, dtype=np.int64)

    def _rows_at(self, positions: Int64[np.ndarray, " N"]) -> Int64[np.ndarray, " N"]:
        return samples_at(positions, n_samples=len(self.lengths), seed=self.seed)


def padding_fraction(
    order: LikeLengths,
    first: int,
    stop: int,
    *,
    rows: int,
    ranks: int,
    sides: Sequence[Int64[np.ndarray, "R ..."]] = (),
) -> float:
    """Tells which share of the places in the micro-batches of some steps was filled up.

    Args:
        order: Gives the rows of each step.
        first: The first step.
        stop: One past the last.
        rows: Of a micro-batch.
        ranks: How many share a step.
        sides: The lengths of each row, of every side of it that is filled up by itself, or of
            several that are filled up together, (R, K); none takes those that the order goes by.
    """
    sums = np.zeros(2)
    for step in range(first, stop):
        for mine in np.split(order.samples(step), ranks):
            for lengths in sides or (order.lengths,):
                sums += padding(lengths[mine], min(rows, len(mine)))
    return float(1 - sums[0] / sums[1]) if sums[1] else 0.0


def padding(lengths: Int64[np.ndarray, "N ..."], rows: int) -> tuple[int, int]:
    """Counts the places of micro-batches that rows of `lengths` fill, and all there are.

    Args:
        lengths: Of one rank's share of a step, in the order in which it is cut; of a row several,
            where so many are filled up together.
        rows: Of a micro-batch.
    """
    parts = [lengths[start : start + rows] for start in range(0, len(lengths), rows)]
    return int(lengths.sum()), sum(int(part.max()) * part.size for part in parts)
