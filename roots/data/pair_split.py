"""A part of a set of pairs as an encoder-decoder reads it: two lengths a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64

from roots.batch import IGNORE, PairBatch
from roots.data.ragged import Ragged
from roots.data.splits import Split


@dataclass(frozen=True)
class PairSplit(Split):
    """Sources as `input_ids`, targets as ragged `labels`; `about` has both texts of each row."""

    @property
    def targets(self) -> Ragged:
        """The labels, each row as long as its target."""
        assert isinstance(self.labels, Ragged)
        return self.labels

    @property
    def lengths(self) -> Int64[np.ndarray, " R"]:
        """Counts the tokens of both sides: rows alike in the sum differ little on either side."""
        both: Int64[np.ndarray, " R"] = self.input_ids.lengths + self.targets.lengths
        return both

    @property
    def sides(self) -> Sequence[Int64[np.ndarray, " R"]]:
        """Gives the lengths of the sources, and of the targets."""
        return (self.input_ids.lengths, self.targets.lengths)

    @property
    def digest(self) -> bytes:
        """Changes when a token of a source or a target changes, or where one ends."""
        return super().digest + self.targets.ends.tobytes()

    def batch(self, rows: Int64[np.ndarray, " B"], step: int) -> PairBatch:
        """Lays rows under each other; a row of -1 is filler, the source of another, unlabelled."""
        read = self.filled(rows)
        lengths = self.input_ids.lengths[read]
        ids = self.input_ids.padded(read, self.pad_id)  # B T
        mask = np.arange(ids.shape[1]) < lengths[:, None]
        return PairBatch(
            inputs={
                "input_ids": torch.from_numpy(ids),
                "attention_mask": torch.from_numpy(mask.astype(np.int64)),
            },
            labels=torch.from_numpy(self.targets.padded(rows, IGNORE)),  # B U
            lengths=torch.from_numpy(lengths),
            target_lengths=torch.from_numpy(np.where(rows >= 0, self.targets.lengths[rows], 1)),
            samples=torch.from_numpy(rows),
            step=step,
        )
