"""Corruption: its rates within the binomial's, its independence, and what it never touches."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.batch import IGNORE
from roots.errors import ConfigError
from roots.objectives import Corrupted, Key, Masking, corrupt
from roots.objectives.masking import choose_words, draw_lengths, length_shares

V, MASK = 1_000, 4
SPECIAL = np.arange(5)  # padding, unknown, begin, end, mask
ORDINARY = np.arange(5, V)
SIGMAS = 4.5  # a right program passes this by 1 - 7e-6 a comparison; the draws are fixed anyway


def rows(n_rows: int, length: int, seed: int = 0) -> np.ndarray:
    """Ordinary tokens between a begin and an end."""
    ids = np.random.default_rng(seed).integers(5, V, size=(n_rows, length), dtype=np.int64)
    ids[:, 0], ids[:, -1] = 2, 3
    return ids


def words_of(ids: np.ndarray) -> np.ndarray:
    """Two in three tokens start a word, as a function of the id."""
    return ids % 3 != 0


def corrupted(
    ids: np.ndarray,
    masking: Masking,
    *,
    seed: int = 0,
    epoch: int = 0,
    samples: Any = None,
    starts: np.ndarray | None = None,
) -> Corrupted:
    samples = range(len(ids)) if samples is None else samples
    return corrupt(
        ids,
        np.isin(ids, SPECIAL),
        words_of(ids) if starts is None else starts,
        masking=masking,
        mask_id=MASK,
        replacements=ORDINARY,
        keys=[Key(seed, int(sample), epoch) for sample in samples],
    )


def assert_share(count: int, total: int, share: float) -> None:
    """Checks a count against a binomial's mean, within SIGMAS of its deviations."""
    deviation = np.sqrt(total * share * (1 - share))
    assert abs(count - total * share) <= SIGMAS * deviation, (count / total, share)


# -- how much -------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["token", "word", "span"])
@pytest.mark.parametrize("rate", [0.15, 0.3])
def test_the_rate_and_the_three_fates_are_those_asked_for(unit: str, rate: float) -> None:
    ids = rows(3_000, 66)
    out = corrupted(ids, Masking(rate=rate, unit=unit))
    hidden = out.labels != IGNORE
    # of whole words the number is exact; their lengths vary, less than independent tokens would
    assert_share(hidden.sum(), 3_000 * 64, rate)
    fates = 1 if unit != "span" else 4  # a span's tokens share a fate: fewer draws
    total = hidden.sum() // fates
    masked = (out.input_ids == MASK) & hidden
    changed = (out.input_ids != ids) & hidden & ~masked
    assert_share(masked.sum() // fates, total, 0.8)
    # a random token is the old one by chance once in R
    assert_share(changed.sum() // fates, total, 0.1 * (1 - 1 / len(ORDINARY)))


@pytest.mark.parametrize(
    ("mask_fraction", "random_fraction"), [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (0.5, 0.5)]
)
def test_the_split_can_be_set(mask_fraction: float, random_fraction: float) -> None:
    ids = rows(500, 130)
    masking = Masking(rate=0.5, mask_fraction=mask_fraction, random_fraction=random_fraction)
    out = corrupted(ids, masking)
    hidden = out.labels != IGNORE
    total = int(hidden.sum())
    assert_share(int((out.input_ids[hidden] == MASK).sum()), total, mask_fraction)
    kept = 1 - mask_fraction - random_fraction + random_fraction / len(ORDINARY)
    assert_share(int((out.input_ids[hidden] == ids[hidden]).sum()), total, kept)


def test_the_number_of_hidden_tokens_is_the_rates_rounded_by_chance() -> None:
    counts = (corrupted(rows(4_000, 15), Masking()).labels != IGNORE).sum(1)
    # 0.15 · 13 = 1.95: two tokens in 95 % of the rows, one in the others
    assert set(counts.tolist()) == {1, 2}
    assert_share(int((counts == 2).sum()), 4_000, 0.95)


@pytest.mark.parametrize("unit", ["token", "word", "span"])
def test_every_place_is_as_likely_as_any_other(unit: str) -> None:
    n_rows = 6_000
    ids = rows(n_rows, 22)
    starts = np.ones_like(ids, dtype=bool)
    hidden = corrupted(ids, Masking(unit=unit), starts=starts).labels != IGNORE
    for place in range(1, 21):
        assert_share(int(hidden[:, place].sum()), n_rows, 0.15)


def test_random_tokens_are_drawn_evenly_and_never_special() -> None:
    ids = rows(2_000, 130)
    out = corrupted(ids, Masking(rate=1.0, mask_fraction=0.0, random_fraction=1.0))
    drawn = out.input_ids[out.labels != IGNORE]
    counts = np.bincount(drawn, minlength=V)
    assert counts[SPECIAL].sum() == 0
    expected = len(drawn) / len(ORDINARY)
    chi_squared = ((counts[ORDINARY] - expected) ** 2 / expected).sum()
    freedom = len(ORDINARY) - 1
    assert abs(chi_squared - freedom) < SIGMAS * np.sqrt(2 * freedom)


def test_lengths_of_spans_follow_the_truncated_geometric() -> None:
    masking = Masking(unit="span")
    lengths = draw_lengths(masking, 200_000, Key(1, 2, 3).generator())
    assert lengths.sum() == 200_000
    counts = np.bincount(lengths[:-1], minlength=11)[1:]
    # by definition, in Python's floats: p (1-p)^(l-1) / (1 - (1-p)^10)
    shares = [0.2 * 0.8 ** (length - 1) / (1 - 0.8**10) for length in range(1, 11)]
    np.testing.assert_allclose(length_shares(masking), shares, rtol=1e-12)
    expected = counts.sum() * np.array(shares)
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert chi_squared < 9 + SIGMAS * np.sqrt(2 * 9)
    assert lengths[:-1].mean() == pytest.approx(3.80, abs=0.05)  # as the paper says


def test_spans_lie_apart_and_the_runs_are_the_lengths() -> None:
    masking = Masking(unit="span", rate=0.3)
    for sample in range(50):
        rng, again = Key(0, sample, 0).generator(), Key(0, sample, 0).generator()
        blocks = choose_words(masking, 200, rng)
        count = int(0.3 * 200 + again.random())
        lengths = draw_lengths(masking, count, again)
        gap = int(np.flatnonzero(blocks < 0)[0])
        ring = np.roll(blocks, -gap)  # starts with a word that is not hidden: no run is cut
        edges = np.flatnonzero(np.diff(np.append(ring >= 0, False).astype(int), prepend=0))
        runs = edges[1::2] - edges[::2]
        assert sorted(runs) == sorted(lengths)


@pytest.mark.parametrize("rate", [0.9, 1.0])
def test_spans_touch_where_there_is_no_room_between_them(rate: float) -> None:
    blocks = choose_words(Masking(unit="span", rate=rate), 40, Key(0, 0, 0).generator())
    assert (blocks >= 0).sum() == 40 * rate


def test_a_span_has_one_fate() -> None:
    ids = rows(50, 200)
    masking = Masking(unit="span", mask_fraction=0.5, random_fraction=0.0)
    starts = np.ones_like(ids, dtype=bool)
    out = corrupted(ids, masking, starts=starts)
    inner = out.labels[:, 1:-1] != IGNORE
    masked = out.input_ids[:, 1:-1] == MASK
    both = inner[:, 1:] & inner[:, :-1]  # neighbours in one span
    assert both.sum() > 500
    assert (masked[:, 1:] == masked[:, :-1])[both].all()


# -- whole words ----------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["word", "span"])
def test_a_word_is_hidden_whole_or_not_at_all(unit: str) -> None:
    ids = rows(200, 66)
    hidden = corrupted(ids, Masking(unit=unit), seed=3).labels != IGNORE
    starts = words_of(ids)
    starts[:, 1] = True  # behind the begin
    inside = ~starts[:, 1:-1]
    inside[:, 0] = False
    cut = inside[:, 1:] & (hidden[:, 2:-1] != hidden[:, 1:-2])
    assert inside.sum() > 2_000
    assert not cut.any()


def test_a_special_token_ends_a_word() -> None:
    ids = np.full((1, 9), 6, dtype=np.int64)
    ids[0, 4] = 3
    starts = np.zeros_like(ids, dtype=bool)  # one word, as far as the marks go
    masking = Masking(unit="word", rate=0.5)
    for seed in range(20):
        hidden = corrupted(ids, masking, seed=seed, starts=starts).labels[0] != IGNORE
        assert hidden.tolist() in ([True] * 4 + [False] * 5, [False] * 5 + [True] * 4)


# -- what it is a function of ---------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    unit=st.sampled_from(["token", "word", "span"]),
    order=st.permutations(range(12)),
    cut=st.integers(1, 11),
    padding=st.integers(0, 9),
)
def test_a_row_depends_on_itself_and_its_key_alone(unit, order, cut, padding) -> None:
    ids = rows(12, 30)
    masking = Masking(unit=unit)
    whole = corrupted(ids, masking, seed=5, epoch=2)
    padded = np.pad(ids[order], ((0, 0), (0, padding)))
    for part in (slice(0, cut), slice(cut, None)):
        out = corrupted(padded[part], masking, seed=5, epoch=2, samples=order[part])
        np.testing.assert_array_equal(out.input_ids[:, :30], whole.input_ids[order[part]])
        np.testing.assert_array_equal(out.labels[:, :30], whole.labels[order[part]])
        assert (out.input_ids[:, 30:] == 0).all()
        assert (out.labels[:, 30:] == IGNORE).all()


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}, {"samples": range(100, 200)}])
def test_another_seed_epoch_or_sample_hides_other_tokens(change: dict[str, Any]) -> None:
    ids = rows(100, 66)
    first = corrupted(ids, Masking()).labels != IGNORE
    second = corrupted(ids, Masking(), **change).labels != IGNORE
    # independent draws meet in a share of 0.15
    assert_share(int((first & second).sum()), int(first.sum()), 0.15)


def test_the_corruption_of_a_sample_stays_what_it_is() -> None:
    """A run that goes on with a newer numpy must hide the same tokens."""
    ids = np.arange(10, 30, dtype=np.int64)[None]
    out = corrupted(ids, Masking(rate=0.3), seed=1, samples=[2], epoch=3)
    hidden = np.flatnonzero(out.labels[0] != IGNORE)
    assert hidden.tolist() == [3, 7, 10, 13, 16, 18]
    assert out.input_ids[0, hidden].tolist() == [MASK, MASK, MASK, MASK, MASK, 28]


def test_a_key_of_numpys_numbers_is_the_same_key() -> None:
    ours = Key(1, 2, 3).generator().random(4)
    np.testing.assert_array_equal(Key(1, int(np.int64(2)), 3).generator().random(4), ours)
    theirs = Key(*np.array([1, 2, 3])).generator().random(4)
    np.testing.assert_array_equal(theirs, ours)


# -- what it leaves alone -------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    unit=st.sampled_from(["token", "word", "span"]),
    rate=st.floats(0.01, 1.0),
    ids=st.lists(st.integers(0, 12), min_size=1, max_size=40),
    seed=st.integers(0, 2**32),
)
def test_special_tokens_are_never_touched_nor_drawn(unit, rate, ids, seed) -> None:
    before = np.array([ids], dtype=np.int64)
    out = corrupted(before, Masking(rate=rate, unit=unit, random_fraction=0.2), seed=seed)
    special = np.isin(before, SPECIAL)
    hidden = out.labels != IGNORE
    assert not (hidden & special).any()
    np.testing.assert_array_equal(out.input_ids[~hidden], before[~hidden])
    np.testing.assert_array_equal(out.labels[hidden], before[hidden])
    assert not np.isin(out.input_ids[hidden], [0, 1, 2, 3]).any()


def test_the_input_is_left_as_it_is() -> None:
    ids = rows(4, 20)
    before = ids.copy()
    corrupted(ids, Masking(rate=1.0))
    np.testing.assert_array_equal(ids, before)


def test_a_row_of_special_tokens_alone_has_no_labels() -> None:
    out = corrupted(np.zeros((2, 8), dtype=np.int64), Masking(rate=1.0))
    assert (out.labels == IGNORE).all()


def test_a_row_costs_well_under_a_millisecond() -> None:
    """It takes about 50 µs; the bound leaves room for a busy machine."""
    ids = rows(256, 128)
    for unit in ("token", "word", "span"):
        start = time.process_time()
        corrupted(ids, Masking(unit=unit))
        assert (time.process_time() - start) / 256 < 500e-6


# -- settings that cannot be ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "words", "cure"),
    [
        ({"rate": 0.0}, "rate=0 is no share.", {"rate": 0.15}),
        ({"rate": 15.0}, "rate=15 is no share.", {"rate": 0.15}),
        ({"span_p": 0.0}, "span_p=0 is no share.", {"span_p": 0.2}),
        ({"mask_fraction": 0.95}, "leave -0.05 of the hidden", {"mask_fraction": 0.9}),
        ({"random_fraction": -0.1}, "random_fraction=-0.1 leave", {"random_fraction": 0.0}),
        ({"unit": "words"}, "There is no unit 'words' (did you mean 'word'?)", {"unit": "word"}),
        (
            {"words": "jiba", "unit": "word"},
            "There is no words 'jiba' (did you mean 'jieba'?)",
            {"words": "jieba"},
        ),
        ({"words": "jieba"}, "words=jieba does nothing where single", {"unit": "span"}),
        (
            {"max_span_words": 0, "unit": "span"},
            "max_span_words=0 leaves no span.",
            {"max_span_words": 1},
        ),
        ({"span_p": 0.9}, "span_p=0.9 and max_span_words=10 do nothing", {"unit": "span"}),
        ({"max_span_words": 3, "unit": "word"}, "are hidden (unit: word)", {"unit": "span"}),
        ({"mask_fraction": math.nan}, "mask_fraction=nan and", {"mask_fraction": 0.8}),
    ],
)
def test_settings_that_cannot_be_are_refused_with_the_cure(wrong, words, cure) -> None:
    with pytest.raises(ConfigError) as caught:
        Masking(**wrong)
    assert words in str(caught.value)
    Masking(**{**wrong, **cure})
