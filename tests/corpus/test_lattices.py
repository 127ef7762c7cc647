"""Lattices and seeds: compared with all ways to cut, written out, and all parts, counted."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from roots.corpus.lattices import Lattices
from roots.corpus.unigram_fit import fit_unigram
from roots.corpus.unigram_seeds import frequent_parts

PIECES = [*(bytes([byte]) for byte in range(97, 101)), b"ab", b"bc", b"abc", b"cd", b"dd", b"abcd"]
WORDS = [b"abcd", b"a", b"ddd", b"abab", b"cdabc", b"dcba", b"abcd"]
COUNTS = np.array([3.0, 1.0, 2.0, 5.0, 1.0, 7.0, 2.0])


def cuts(word: bytes) -> Iterator[list[int]]:
    if not word:
        yield []
    for number, piece in enumerate(PIECES):
        if word.startswith(piece):
            yield from ([number, *rest] for rest in cuts(word[len(piece) :]))


@pytest.fixture
def scores() -> np.ndarray:
    drawn = np.random.default_rng(1).random(len(PIECES))
    return np.log(drawn / drawn.sum())


def test_sums_and_best_cuts_are_those_over_all_cuts(scores: np.ndarray) -> None:
    lattices = Lattices(WORDS, PIECES)
    every = [[sum(scores[cut]) for cut in cuts(word)] for word in WORDS]
    np.testing.assert_allclose(lattices.best(scores), [max(each) for each in every])
    totals = [math.log(math.fsum(map(math.exp, each))) for each in every]
    np.testing.assert_allclose(lattices.totals(scores), totals)


def test_expected_uses_are_those_over_all_cuts(scores: np.ndarray) -> None:
    expected = np.zeros(len(PIECES))
    for word, count in zip(WORDS, COUNTS, strict=True):
        every = list(cuts(word))
        odds = np.exp([sum(scores[cut]) for cut in every])
        for cut, share in zip(every, odds / odds.sum(), strict=True):
            np.add.at(expected, cut, count * share)
    np.testing.assert_allclose(Lattices(WORDS, PIECES).expected(scores, COUNTS), expected)


def test_pieces_that_are_gone_are_in_no_cut(scores: np.ndarray) -> None:
    alive = np.array([piece not in (b"ab", b"abcd") for piece in PIECES])
    lattices = Lattices(WORDS, PIECES)
    lattices.keep(alive)
    fewer = Lattices(WORDS, [piece for piece, kept in zip(PIECES, alive, strict=True) if kept])
    np.testing.assert_array_equal(lattices.totals(scores), fewer.totals(scores[alive]))
    found = lattices.expected(scores, COUNTS)
    np.testing.assert_array_equal(found[alive], fewer.expected(scores[alive], COUNTS))
    assert not found[~alive].any()


def test_the_other_cuts_of_a_piece_leave_it_out(scores: np.ndarray) -> None:
    long = PIECES[4:]
    others = Lattices(long, PIECES, whole=False).best(scores)
    best = [max(sum(scores[cut]) for cut in cuts(piece) if len(cut) > 1) for piece in long]
    np.testing.assert_allclose(others, best)


def test_a_likely_piece_gains_by_the_steps_and_totals_rise() -> None:
    """Expectation and maximisation, without a prior, never lowers the likelihood."""
    lattices = Lattices(WORDS, PIECES)
    scores = np.full(len(PIECES), -math.log(len(PIECES)))
    likelihoods = []
    for _ in range(8):
        likelihoods.append(float(COUNTS @ lattices.totals(scores)))
        used = lattices.expected(scores, COUNTS)
        scores = np.log(np.maximum(used, 1e-12) / used.sum())
    assert all(b >= a - 1e-9 for a, b in pairwise(likelihoods))
    assert likelihoods[-1] > likelihoods[0] + 1


@pytest.mark.parametrize("least", [1, 2, 5])
def test_seeds_are_the_parts_that_stand_often(least: int) -> None:
    rng = random.Random(least)
    words = {
        "".join(rng.choices("abé新🐻", k=rng.randint(1, 20))): rng.randint(1, 4) for _ in range(60)
    }
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for start in range(len(word)):
            for end in range(start + 1, min(start + 16, len(word)) + 1):
                counts[word[start:end]] += count
    goes_on: Counter[str] = Counter()  # the most frequent part that is longer by a character
    for part, count in counts.items():
        goes_on[part[:-1]] = max(goes_on[part[:-1]], count)
    expected = {
        part.encode()
        for part, count in counts.items()
        if count >= least and len(part.encode()) > 1
        if len(part) == 1 or count > goes_on[part] or len(part) == 16
    }
    found = frequent_parts(words, least, 10**6)
    assert found == {raw: counts[raw.decode()] * len(raw) for raw in expected}
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert list(frequent_parts(words, least, 3)) == list(found)[:3]


def test_the_number_of_pieces_is_the_one_that_was_asked_for() -> None:
    rng = random.Random(4)
    words = {"".join(rng.choices("abcde", k=8)): rng.randint(1, 9) for _ in range(300)}
    for n_pieces in (256, 257, 290, 400):
        found = fit_unigram(words, n_pieces=n_pieces, min_frequency=2)
        assert len(found) == len(dict(found)) == n_pieces
        assert {bytes([byte]) for byte in range(256)} <= dict(found).keys()
        assert [score for _, score in found] == sorted((s for _, s in found), reverse=True)
