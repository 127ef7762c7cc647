"""A part of a set of preferences as a network reads it: two rows a pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64

from roots.batch import IGNORE, PreferenceBatch
from roots.data.ragged import Ragged
from roots.data.splits import Split


@dataclass(frozen=True)
class PreferenceSplit(Split):
    """Pairs of prompts with an answer, (P,): row 2 p of `input_ids` is chosen, row 2 p + 1 not."""

    def __len__(self) -> int:
        """Counts the pairs."""
        return len(self.input_ids) // 2

    @property
    def lengths(self) -> Int64[np.ndarray, " P"]:
        """Counts the tokens of both rows of each pair."""
        both: Int64[np.ndarray, " P"] = self._by_pairs.sum(1)
        return both

    @property
    def sides(self) -> Sequence[Int64[np.ndarray, "P 2"]]:
        """Gives the lengths of the rows of each pair, which are filled up together."""
        return (self._by_pairs,)

    @property
    def _by_pairs(self) -> Int64[np.ndarray, "P 2"]:
        return self.input_ids.lengths.reshape(-1, 2)

    def batch(self, rows: Int64[np.ndarray, " B"], step: int) -> PreferenceBatch:
        """Lays pairs under each other; a pair of -1 is filler, one token long and unlabelled."""
        there = rows >= 0
        both = np.where(there[:, None], 2 * rows[:, None] + np.arange(2), -1)  # B 2
        assert isinstance(self.labels, Ragged)
        tokens, labels = (
            torch.from_numpy(ragged.padded(both.ravel(), filler)).unflatten(0, (-1, 2))  # B 2 T
            for ragged, filler in ((self.input_ids, self.pad_id), (self.labels, IGNORE))
        )
        return PreferenceBatch(
            tokens=tokens,
            labels=labels,
            lengths=torch.from_numpy(np.where(there, self._by_pairs[rows].max(1), 1)),
            samples=torch.from_numpy(rows),
            step=step,
        )
