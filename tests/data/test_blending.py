"""Shares are kept exactly, every place is found from its number, and limits are limits."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.data.blending import FOREVER, Blend, Quotas, exact

WEIGHTS = st.lists(st.integers(0, 60), min_size=1, max_size=7).filter(any)
FAR = 10**15


def shares_of(weights: list[int]) -> list[Fraction]:
    return [Fraction(weight, sum(weights)) for weight in weights]


@given(weights=WEIGHTS, unit=st.integers(1, 20), block=st.integers(0, 10**12))
def test_after_any_block_each_corpus_has_its_share_to_within_one(
    weights: list[int], unit: int, block: int
) -> None:
    quotas = Quotas(shares_of(weights), unit=unit)
    counts = quotas.counts(block * quotas.block)
    assert sum(counts) == block * quotas.block
    for count, share in zip(counts, quotas.shares, strict=True):
        assert abs(count - block * quotas.block * share) < 1


@given(weights=WEIGHTS, unit=st.integers(1, 20), first=st.sampled_from([0, 77, FAR]))
@settings(max_examples=50)
def test_each_place_goes_on_where_its_corpus_was(weights: list[int], unit: int, first: int) -> None:
    quotas = Quotas(shares_of(weights), unit=unit)
    seen = quotas.counts(first)
    found = quotas.find(np.arange(first, first + 200, dtype=np.int64))
    for n, (corpus, nth) in enumerate(zip(found.corpora, found.nth, strict=True)):
        assert quotas.counts(first + n) == seen
        assert nth == seen[corpus]
        seen[corpus] += 1


def test_a_block_is_a_step_where_every_corpus_has_a_row_in_it() -> None:
    assert Quotas(shares_of([3, 1]), unit=16).block == 16
    assert Quotas(shares_of([99, 1]), unit=16).block == 112  # the first multiple from 100 on


def test_rows_of_a_corpus_are_spread_over_a_block() -> None:
    found = Quotas(shares_of([3, 1]), unit=16).find(np.arange(16, dtype=np.int64))
    assert np.diff(np.flatnonzero(found.corpora == 1)).tolist() == [4, 4, 4]


@given(
    weights=WEIGHTS,
    limits=st.lists(st.sampled_from([1, 7, 40, FOREVER]), min_size=7, max_size=7),
    change=st.integers(1, 150),
)
@settings(max_examples=100)
def test_limits_are_kept_and_what_is_left_keeps_its_proportions(
    weights: list[int], limits: list[int], change: int
) -> None:
    limits = limits[: len(weights)]
    exact_weights = [Fraction(weight) for weight in weights]
    blend = Blend([(0, exact_weights), (change, exact_weights[::-1])], limits=limits, unit=4)
    n = min(blend.end, 400)
    found = blend.find(np.arange(n, dtype=np.int64))
    counts = np.bincount(found.corpora, minlength=len(weights))
    assert blend.counts(n) == counts.tolist()
    assert (counts <= np.minimum(limits, n)).all()
    for k in range(len(weights)):
        assert found.nth[found.corpora == k].tolist() == list(range(counts[k]))
    for stretch, following in pairwise(blend.stretches):
        assert stretch.first < following.first
    if blend.end < FOREVER:  # only because all that had a weight were full
        last = weights if blend.end < change else weights[::-1]
        assert all(counts[k] == limits[k] for k, weight in enumerate(last) if weight)


def test_of_three_corpora_the_others_take_over_in_proportion() -> None:
    weights = [Fraction(2), Fraction(1), Fraction(1)]
    blend = Blend([(0, weights)], limits=[FOREVER, 10, FOREVER], unit=4)
    assert blend.counts(40) == [20, 10, 10]
    assert blend.used_up == {1: 41}  # the second of each four would be its own
    assert np.diff([blend.counts(n) for n in (41, 341)], axis=0).tolist() == [[200, 0, 100]]


def test_weights_change_at_their_place() -> None:
    blend = Blend(
        [(0, [Fraction(1), Fraction(0)]), (12, [Fraction(1), Fraction(3)])],
        limits=[FOREVER] * 2,
        unit=4,
    )
    assert blend.counts(12) == [12, 0]
    assert blend.counts(12 + 40) == [22, 30]


def test_temperature_takes_a_root_and_leaves_nothing_at_nothing() -> None:
    assert exact([0.1, 3]) == [Fraction(1, 10), Fraction(3)]
    cooled = [float(weight) for weight in exact([16, 1, 0], temperature=2)]
    assert cooled == [1, 0.25, 0]
    assert exact([16, 1, 0], temperature=math.inf) == [1, 1, 0]


def test_a_weight_above_nothing_stays_above_nothing_at_any_temperature() -> None:
    for temperature in (0.25, 0.001):
        largest, small, none = exact([1, 1e-4, 0], temperature=temperature)
        assert largest == 1
        assert 0 < small < 1.001e-16
        assert none == 0


def test_weights_may_be_numbers_of_numpy() -> None:
    assert exact(list(np.array([0.1, 3.0]))) == [Fraction(1, 10), Fraction(3)]
    assert exact([2**60 + 1]) == [2**60 + 1]  # no digit is lost
