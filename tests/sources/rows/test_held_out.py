"""hold_out: a division that is the same tomorrow, keeps copies together and classes whole."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.errors import ConfigError
from roots.sources.rows import hold_out


@settings(max_examples=100, deadline=None)
@given(n_rows=st.integers(2, 300), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_each_row_is_in_one_part_and_the_share_is_met(n_rows, fraction, seed) -> None:
    if round(fraction * n_rows) < 1:
        with pytest.raises(ConfigError, match="holds out nothing"):
            hold_out(n_rows, fraction=fraction / n_rows / 4, seed=seed)
        return
    train, held = hold_out(n_rows, fraction=fraction, seed=seed)
    assert sorted(train + held) == list(range(n_rows))
    assert (train, held) == (sorted(train), sorted(held))
    assert len(held) == pytest.approx(min(fraction * n_rows, n_rows - 1), abs=0.5 + 1e-9)


def test_the_division_is_known_and_depends_on_the_seed() -> None:
    """Written down: a run that is repeated in a year must hold out the same rows."""
    assert hold_out(20, fraction=0.2, seed=0)[1] == [4, 9, 12, 17]
    assert hold_out(20, fraction=0.2, seed=0) == hold_out(20, fraction=0.2, seed=0)
    assert len({tuple(hold_out(20, fraction=0.2, seed=seed)[1]) for seed in range(20)}) > 15


def test_the_held_out_rows_are_spread_evenly() -> None:
    counts = Counter(n for s in range(400) for n in hold_out(10, fraction=0.3, seed=s)[1])
    assert all(counts[number] == pytest.approx(120, abs=45) for number in range(10))  # 5 sigma


GROUPS = st.lists(st.sampled_from("abcdefghij"), min_size=10, max_size=80)


@settings(max_examples=100, deadline=None)
@given(by=GROUPS, order=st.randoms(), seed=st.integers(0, 9))
def test_groups_stay_together_whatever_the_order_of_the_rows(by, order, seed) -> None:
    def held_groups(names: list[str]) -> set[str]:
        if max(Counter(names).values()) > 0.4 * len(names):  # perhaps too large to be held out
            return set()
        train, held = hold_out(len(names), fraction=0.3, seed=seed, by=names)
        assert not {names[i] for i in train} & {names[i] for i in held}
        return {names[i] for i in held}

    first = held_groups(by)
    shuffled = list(by)
    order.shuffle(shuffled)
    assert held_groups(shuffled) == first


@settings(max_examples=100, deadline=None)
@given(
    strata=st.lists(st.sampled_from(["x", "y", "z"]), min_size=8, max_size=200),
    seed=st.integers(0, 9),
)
def test_each_class_is_divided_by_the_same_share_and_none_is_lost(strata, seed) -> None:
    train, held = hold_out(len(strata), fraction=0.25, seed=seed, strata=strata)
    assert {strata[i] for i in train} == set(strata)
    for name, n_rows in Counter(strata).items():
        assert sum(strata[i] == name for i in held) == pytest.approx(n_rows / 4, abs=1.01)
    assert len(held) == pytest.approx(len(strata) / 4, abs=1.51)


def test_copies_and_classes_together() -> None:
    texts = [f"text {i % 50}" for i in range(100)]
    labels = [i % 50 % 2 for i in range(100)]
    train, held = hold_out(100, fraction=0.2, seed=1, by=texts, strata=labels)
    assert len(held) == 20
    assert Counter(labels[i] for i in held) == {0: 10, 1: 10}
    assert not {texts[i] for i in train} & {texts[i] for i in held}


def test_what_cannot_be_divided_is_refused_and_the_cure_works() -> None:
    with pytest.raises(ConfigError, match=r"fraction=0.1 of 4 rows in 1 groups holds out nothing"):
        hold_out(4, fraction=0.1, seed=0, by=["a"] * 4)
    assert len(hold_out(4, fraction=0.3, seed=0, by=["a", "b", "a", "b"])[1]) == 2
    with pytest.raises(ConfigError, match=r"fraction=1 must be over 0 and under 1"):
        hold_out(4, fraction=1, seed=0)
    with pytest.raises(ConfigError, match="1 rows cannot be divided"):
        hold_out(1, fraction=0.5, seed=0)
    with pytest.raises(ConfigError, match="strata has 3 items for 4 rows"):
        hold_out(4, fraction=0.5, seed=0, strata=[1, 2, 3])
