"""Steps of like lengths: every row once an epoch, any step by itself, little filled up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.data.like_lengths import LikeLengths, padding


def lengths_of(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 60, n)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 400), size=st.integers(1, 40), sorts=st.booleans(), epochs=st.integers(1, 3)
)
def test_after_an_epochs_steps_every_row_was_there(
    n: int, size: int, sorts: bool, epochs: int
) -> None:
    order = LikeLengths(lengths_of(n), rows_per_step=size, seed=3, sorts=sorts)
    steps = -(-epochs * n // size)
    counts = np.bincount(np.concatenate([order.samples(k) for k in range(steps)]), minlength=n)
    assert counts.min() >= epochs
    assert counts.sum() == steps * size  # and the last step begins the next epoch


@settings(max_examples=10, deadline=None)
@given(n=st.integers(1, 40), size=st.integers(1, 12), seed=st.integers(0, 9))
def test_tokens_are_counted_alike_from_any_step_on(n: int, size: int, seed: int) -> None:
    lengths = lengths_of(n)
    order = LikeLengths(lengths, rows_per_step=size, seed=seed)
    expected = 0
    for step in range(3 * n // size + 5):
        fresh = LikeLengths(lengths, rows_per_step=size, seed=seed)
        assert order.tokens_until(step) == fresh.tokens_until(step) == expected
        expected += int(lengths[order.samples(step)].sum())


def test_a_step_is_a_function_of_seed_and_number() -> None:
    lengths = lengths_of(5000)
    first = LikeLengths(lengths, rows_per_step=32, seed=7)
    seen = [first.samples(step) for step in range(400)]
    for step in (399, 3, 250, 155, 157):
        alone = LikeLengths(lengths, rows_per_step=32, seed=7).samples(step)
        assert np.array_equal(alone, seen[step])
    assert not np.array_equal(LikeLengths(lengths, rows_per_step=32, seed=8).samples(3), seen[3])


def test_epochs_differ_and_the_steps_within_are_shuffled() -> None:
    lengths = lengths_of(3200)
    order = LikeLengths(lengths, rows_per_step=32, seed=1)
    means = [lengths[order.samples(step)].mean() for step in range(200)]
    assert not np.array_equal(order.samples(0), order.samples(100))
    # neighbours are no nearer than strangers, up to chance: rank correlation below 3 sigma
    ranks = np.argsort(np.argsort(means[:100]))
    assert abs(np.corrcoef(ranks[:-1], ranks[1:])[0, 1]) < 3 / np.sqrt(99)


def test_little_is_filled_up_where_lengths_are_sorted_and_much_where_not() -> None:
    lengths = lengths_of(6400)
    wasted = {}
    for sorts in (True, False):
        order = LikeLengths(lengths, rows_per_step=32, seed=1, sorts=sorts)
        parts = [padding(lengths[order.samples(step)], 32) for step in range(200)]
        filled, places = np.sum(parts, axis=0)
        wasted[sorts] = 1 - filled / places
    assert wasted[True] < 0.02
    assert wasted[False] > 0.4


@pytest.mark.parametrize(("rows", "places"), [(1, 12), (2, 5 * 2 + 3 * 2), (3, 15 + 1), (9, 20)])
def test_padding_counts_each_micro_batch_to_its_longest(rows: int, places: int) -> None:
    assert padding(np.array([5, 3, 3, 1]), rows) == (12, places)
