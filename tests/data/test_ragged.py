"""Ragged: rows of different lengths in one array."""

from __future__ import annotations

import numpy as np

from roots.data.ragged import Ragged


def test_rows_are_laid_out_by_lengths_that_are_counted_once() -> None:
    rows = Ragged.of([[1, 2], [], [3, 4, 5]])
    assert rows.lengths.tolist() == [2, 0, 3]
    assert rows.lengths is rows.lengths  # every batch asks, and data may have millions of rows
    assert rows.padded(np.array([2, -1, 0]), 9).tolist() == [[3, 4, 5], [9, 9, 9], [1, 2, 9]]
    both = rows.and_behind(Ragged.of([[6]]))
    assert both.lengths.tolist() == [2, 0, 3, 1]
