"""Rows of different lengths in one flat array."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Int64, Shaped


class Ragged:
    """Rows of numbers, end to end.

    Args:
        values: All rows, one after the other, (N,).
        ends: Where each row ends, (R,).
    """

    def __init__(self, values: Shaped[np.ndarray, " N"], ends: Int64[np.ndarray, " R"]) -> None:
        self.values = values
        self.ends = ends

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]]) -> Ragged:
        """Puts rows of whole numbers together, as int32."""
        rows = list(rows)
        lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        ends = np.cumsum(lengths)
        values = np.empty(int(ends[-1]) if len(ends) else 0, dtype=np.int32)
        for row, end in zip(rows, ends, strict=True):
            values[end - len(row) : end] = row
        return cls(values, ends)

    def __len__(self) -> int:
        """Counts the rows."""
        return len(self.ends)

    def __getitem__(self, row: int) -> Shaped[np.ndarray, " T"]:
        """Gives one row."""
        start = int(self.ends[row - 1]) if row else 0
        return self.values[start : int(self.ends[row])]

    @cached_property
    def lengths(self) -> Int64[np.ndarray, " R"]:
        """Counts the numbers of each row."""
        return np.diff(self.ends, prepend=0)

    def and_behind(self, other: Ragged) -> Ragged:
        """Puts the rows of another behind these."""
        values = np.concatenate([self.values, other.values])
        return Ragged(values, np.concatenate([self.ends, other.ends + len(self.values)]))

    def padded(self, rows: Int64[np.ndarray, " B"], filler: int) -> Int64[np.ndarray, "B T"]:
        """Lays rows under each other, filled up to the longest; a negative row is all filler.

        Returns:
            (B, T) int64, T at least 1.
        """
        found = [self[int(row)] if row >= 0 else self.values[:0] for row in rows]
        longest = max((len(row) for row in found), default=0)
        laid = np.full((len(found), max(longest, 1)), filler, dtype=np.int64)
        for line, row in zip(laid, found, strict=True):
            line[: len(row)] = row
        return laid
