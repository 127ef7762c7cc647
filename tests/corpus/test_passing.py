"""The map that a pass is given: in order, a bounded number of items ahead, failures told."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import pytest

from roots.corpus import ExactDuplicates
from roots.corpus.passing import spread_over
from roots.errors import DataError


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (2, 6)])
def test_results_come_in_order_and_few_items_are_read_ahead(workers: int, ahead: int) -> None:
    read = []

    def items() -> Iterator[int]:
        for i in range(100):
            read.append(i)
            yield i

    distances = []
    for done, result in enumerate(spread_over(workers, ExactDuplicates())(math.sqrt, items())):
        assert result == math.sqrt(done)
        distances.append(len(read) - done)
    assert len(distances) == 100
    assert max(distances) == ahead


def test_a_failure_names_the_pass_and_the_error() -> None:
    results = spread_over(2, ExactDuplicates())(partial(sorted, key=len), [["a"], [3]])
    with pytest.raises(
        DataError, match=r"ExactDuplicates failed on a block of 1 texts: TypeError.*workers: 1"
    ):
        list(results)
