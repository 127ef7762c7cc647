"""The order of the samples: a bijection that mixes, costs nothing and needs no memory."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.data import permute, samples_at


def order(n: int, *key: int) -> np.ndarray:
    return permute(np.arange(n), n, key=key)


@given(n=st.integers(1, 3000), key=st.tuples(st.integers(0, 2**63), st.integers(0, 1000)))
@settings(max_examples=150, deadline=None)
def test_every_number_comes_once(n: int, key: tuple[int, int]) -> None:
    assert np.array_equal(np.sort(order(n, *key)), np.arange(n))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 4095, 4096, 4097, 65537])
def test_every_number_comes_once_around_powers_of_four(n: int) -> None:
    assert np.array_equal(np.sort(order(n, 1)), np.arange(n))


def test_a_part_of_the_order_is_what_stands_there_in_the_whole() -> None:
    whole = order(1000, 7, 3)
    places = np.array([999, 0, 500, 500])
    assert np.array_equal(permute(places, 1000, key=(7, 3)), whole[places])


def test_the_same_key_gives_the_same_order_and_each_other_key_another() -> None:
    keys = [(1, 0), (1, 1), (2, 0), (0, 1), (11, 0), (1, 10)]
    orders = [order(500, *key).tolist() for key in keys]
    assert orders == [order(500, *key).tolist() for key in keys]
    assert len({tuple(o) for o in orders}) == len(keys)


def chi_square(counts: np.ndarray) -> float:
    expected = counts.sum() / len(counts)
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("n", [5, 16, 100])
@pytest.mark.parametrize("place", ["first", "last"])
def test_over_the_keys_every_number_is_equally_often_at_a_place(n: int, place: str) -> None:
    at = np.array([0 if place == "first" else n - 1])
    found = [int(permute(at, n, key=(seed, 0))[0]) for seed in range(8 * n)]
    freedom = n - 1
    # mean n - 1, standard deviation sqrt(2 (n - 1)): five of them to the right
    assert chi_square(np.bincount(found, minlength=n)) < freedom + 5 * (2 * freedom) ** 0.5


def test_over_the_keys_two_neighbouring_places_are_independent() -> None:
    # by fifths: tiny ranges of a handful of numbers do show a bias in pairs, which no corpus meets
    n, n_keys = 100, 800
    pairs = np.array([permute(np.array([0, 1]), n, key=(seed,)) for seed in range(n_keys)])
    counts = np.zeros((5, 5))
    np.add.at(counts, tuple(pairs.T // 20), 1)
    expected = (np.full((5, 5), 20 * 20) - 20 * np.eye(5)) / (100 * 99) * n_keys
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert statistic < 24 + 5 * 48**0.5


@pytest.mark.parametrize("n", [10_000, 2**14, 60_001])
@pytest.mark.parametrize("lag", [1, 2, 100])
def test_neighbours_in_the_order_are_not_correlated(n: int, lag: int) -> None:
    shuffled = order(n, 3, 0).astype(float)
    correlation = np.corrcoef(shuffled[:-lag], shuffled[lag:])[0, 1]
    assert abs(correlation) < 5 / n**0.5


def test_place_and_number_are_not_correlated() -> None:
    n = 20_000
    assert abs(np.corrcoef(order(n, 0, 0), np.arange(n))[0, 1]) < 5 / n**0.5


def test_two_epochs_are_not_correlated() -> None:
    n = 20_000
    assert abs(np.corrcoef(order(n, 5, 0), order(n, 5, 1))[0, 1]) < 5 / n**0.5


def test_a_batch_is_spread_over_the_whole_corpus() -> None:
    n = 10**6
    means = [permute(np.arange(256), n, key=(seed, 0)).mean() / n for seed in range(40)]
    assert np.mean(means) == pytest.approx(0.5, abs=5 * (1 / 12 / 256 / 40) ** 0.5)
    assert np.std(means) == pytest.approx((1 / 12 / 256) ** 0.5, rel=0.5)


# -- the endless stream -----------------------------------------------------------------------


@given(n=st.integers(1, 60), n_epochs=st.integers(1, 4), seed=st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_each_epoch_holds_each_sample_once(n: int, n_epochs: int, seed: int) -> None:
    stream = samples_at(np.arange(n * n_epochs), n_samples=n, seed=seed)
    for epoch in stream.reshape(n_epochs, n):
        assert np.array_equal(np.sort(epoch), np.arange(n))


def test_each_epoch_and_each_seed_has_an_order_of_its_own() -> None:
    streams = [samples_at(np.arange(300), n_samples=100, seed=seed) for seed in (1, 2)]
    epochs = [tuple(epoch) for stream in streams for epoch in stream.reshape(3, 100)]
    assert len(set(epochs)) == 6


def test_it_is_the_same_however_it_is_cut() -> None:
    whole = samples_at(np.arange(250), n_samples=70, seed=9)
    parts = [samples_at(np.arange(a, a + 50), n_samples=70, seed=9) for a in range(0, 250, 50)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_a_stretch_over_two_epochs_takes_the_end_of_one_and_the_start_of_the_next() -> None:
    n = 10
    across = samples_at(np.arange(8, 13), n_samples=n, seed=4)
    ends = permute(np.array([8, 9]), n, key=(4, 0)), permute(np.arange(3), n, key=(4, 1))
    assert across.tolist() == [*ends[0], *ends[1]]


@pytest.mark.parametrize("n_samples", [1000, 10**9, 10**15])
@pytest.mark.parametrize("position", [0, 10**9, 10**17])
def test_a_far_position_costs_neither_time_nor_memory(n_samples: int, position: int) -> None:
    positions = np.arange(position, position + 256)
    samples_at(positions[:1], n_samples=n_samples, seed=1)
    tracemalloc.start()
    began = time.perf_counter()
    found = samples_at(positions, n_samples=n_samples, seed=1)
    seconds = time.perf_counter() - began
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ((found >= 0) & (found < n_samples)).all()
    assert len(set(found.tolist())) == 256 or n_samples == 1000
    assert peak_bytes < 200_000
    assert seconds < 1


def test_the_order_is_the_same_for_ever() -> None:
    # a run that is resumed with a later roots must find the order that it began with
    assert order(10, 1, 0).tolist() == [7, 1, 2, 5, 6, 8, 0, 3, 4, 9]
    assert samples_at(np.array([10**9]), n_samples=10**6, seed=1).tolist() == [387993]
