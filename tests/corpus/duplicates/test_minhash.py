"""Shingles against Python's sets; signatures against probability; bands against their curve."""

from __future__ import annotations

from hashlib import blake2b
from itertools import product
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.corpus.duplicates import Banding
from roots.corpus.duplicates.minhash import MAX_PLACES, MinHash, band_keys
from roots.corpus.duplicates.shingles import distinct, hashes_of, jaccard, n_grams, shingles, spread
from roots.errors import ConfigError

WORD_LISTS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=30)


def grams(words: list[str], n: int) -> set[tuple[str, ...]]:
    if 0 < len(words) < n:
        return {tuple(words)}
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def two_sets(n_common: int, n_own: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of two sets that share `n_common` members and have `n_own` each besides."""
    members = spread(np.arange(n_common + 2 * n_own, dtype=np.uint64), seed)
    first = members[: n_common + n_own]
    second = np.concatenate((members[:n_common], members[n_common + n_own :]))
    return distinct(first), distinct(second)


@settings(deadline=None)
@given(WORD_LISTS, WORD_LISTS, st.integers(1, 6))
def test_jaccard_is_that_of_the_sets_of_n_grams(a: list[str], b: list[str], n: int) -> None:
    ours, theirs = grams(a, n), grams(b, n)
    expected = len(ours & theirs) / len(ours | theirs) if ours | theirs else 0.0
    hashed = shingles([a, [], b], n)[::2]
    assert [len(each) for each in hashed] == [len(ours), len(theirs)]
    assert jaccard(*hashed) == expected


def test_hashes_of_different_shingles_differ() -> None:
    words = [chr(ord("a") + i % 26) * (1 + i // 26) for i in range(200)]
    runs = [[a, b] for a in words for b in words]
    hashed = np.array([each[0] for each in shingles(runs, 2)])
    assert len(np.unique(hashed)) == len(runs)
    bits = (hashed[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 5 * 0.5 / len(runs) ** 0.5


FACTOR = 0x9E3779B97F4A7C13


def mixed(z: int) -> int:
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def hashed(word: str) -> int:
    raw = word.encode("utf-8", "surrogatepass")
    if len(raw) > 512:
        return int.from_bytes(blake2b(raw, digest_size=8).digest(), "little")
    parts = [int.from_bytes(raw[i : i + 8], "little") for i in range(0, max(len(raw), 1), 8)]
    value = mixed(parts[0] ^ len(raw) * FACTOR % 2**64)
    for part in parts[1:]:
        value = mixed(value ^ part)
    return value


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=20),
            st.text("ab\n\0", max_size=40),
            st.integers(505, 520).map(lambda n: "x" * n),
        )
    )
)
def test_words_are_hashed_as_the_docstring_says(words: list[str]) -> None:
    assert hashes_of(words).tolist() == [hashed(word) for word in words]


def test_a_shingle_is_hashed_as_the_docstring_says() -> None:
    def shingle(words: list[str], seed: int) -> int:
        total = 0
        for word in words:
            total = (total * FACTOR + hashed(word)) % 2**64
        return mixed(total ^ (seed * 0x9E3779B97F4A7C15 % 2**64))

    words = ["the", "roots", "of", "a", "trée"]
    for seed in (0, 1, 2**40):
        expected = sorted(shingle(run, seed) for run in (words[:4], words[1:]))
        assert shingles([words], 4, seed)[0].tolist() == expected


def test_hashes_of_alike_words_differ() -> None:
    letters = "abcdefghij"
    words = ["".join(each) for n in range(1, 6) for each in product(letters[:7], repeat=n)]
    words += [word + "0123456789"[: i % 10] + word[::-1] for i, word in enumerate(words)]
    words = sorted(set(words))
    hashes = hashes_of(words)
    assert len(np.unique(hashes)) == len(words) > 30_000
    bits = (hashes[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 5 * 0.5 / len(words) ** 0.5


def test_spreading_is_one_to_one() -> None:
    values = np.arange(2**16, dtype=np.uint64)
    assert len(np.unique(spread(values, 3))) == len(values)


@pytest.mark.parametrize(("n_common", "n_own"), [(8, 1), (6, 7), (150, 50), (600, 1400)])
def test_a_place_agrees_with_the_probability_of_the_similarity(n_common: int, n_own: int) -> None:
    places, n_seeds = 64, 2000
    hasher = MinHash(places=places)
    agreements = np.zeros(places)
    for seed in range(n_seeds):
        first, second = (hasher.signature(each) for each in two_sets(n_common, n_own, seed))
        agreements += first == second
    similarity = n_common / (n_common + 2 * n_own)
    spread_of_one = (similarity * (1 - similarity) / n_seeds) ** 0.5
    bound = NormalDist().inv_cdf(1 - 1e-6 / places / 2)  # for all places together: one in a million
    assert np.abs(agreements / n_seeds - similarity).max() < bound * spread_of_one
    assert abs(agreements.mean() / n_seeds - similarity) < bound * spread_of_one / 3


@pytest.mark.parametrize("similarity", [0.4, 0.6, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("n_union", [100, 2000])
def test_candidates_follow_the_curve(similarity: float, n_union: int) -> None:
    banding, n_pairs = Banding(bands=20, rows=7), 1500
    hasher = MinHash(places=140)
    n_common = round(similarity * n_union)
    found = 0
    for seed in range(n_pairs):
        sets = two_sets(n_common, (n_union - n_common) // 2, seed)
        keys = band_keys(np.stack([hasher.signature(each) for each in sets]), banding)
        found += bool((keys[0] == keys[1]).any())
    expected = banding.probability(similarity)
    # Bins are drawn without replacement, so the curve of independent places is not met exactly.
    sampling = 5 * (expected * (1 - expected) / n_pairs) ** 0.5
    assert found / n_pairs == pytest.approx(expected, abs=sampling + 0.02)


def test_the_curve_of_the_docstring() -> None:
    banding = Banding.reaching(threshold=0.8, recall=0.99, bands=20)
    assert banding == Banding(bands=20, rows=7)
    curve = {0.3: 0.004, 0.4: 0.032, 0.5: 0.145, 0.6: 0.433, 0.7: 0.821, 0.75: 0.943, 0.8: 0.991}
    for similarity, probability in curve.items():
        assert round(banding.probability(similarity), 3) == probability


@settings(deadline=None)
@given(st.floats(0.3, 1.0), st.floats(0.0, 0.999), st.integers(1, 40))
def test_rows_are_as_many_as_the_recall_allows(threshold: float, recall: float, bands: int) -> None:
    try:
        banding = Banding.reaching(threshold=threshold, recall=recall, bands=bands)
    except ConfigError:
        assert Banding(bands, 1).probability(threshold) < recall
        return
    assert banding.probability(threshold) >= recall
    if (banding.rows + 1) * bands <= MAX_PLACES:
        assert Banding(bands, banding.rows + 1).probability(threshold) < recall


def test_a_recall_out_of_reach_is_told_with_its_cure() -> None:
    wrong = {"threshold": 0.5, "recall": 0.99, "bands": 2}
    with pytest.raises(ConfigError, match=r"With 2 bands.*threshold=0.5.*0.7500.*recall=0.99"):
        Banding.reaching(**wrong)
    assert Banding.reaching(**{**wrong, "bands": 7}).rows == 1
    assert Banding.reaching(**{**wrong, "recall": 0.7}).rows == 1


def test_an_empty_bin_of_many_words_takes_the_same_member_everywhere() -> None:
    hasher = MinHash(places=140)
    alone = spread(np.array([7], np.uint64), 0)
    assert (hasher.signature(alone) == alone[0]).all()


def test_runs_shorter_than_n_have_no_n_grams() -> None:
    words = np.arange(3, dtype=np.uint64)
    assert [len(n_grams(words, n)) for n in (1, 3, 4, 9)] == [3, 1, 0, 0]
