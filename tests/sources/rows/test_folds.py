"""fold_of_rows: each row held out once, by as equal parts as scikit-learn makes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, StratifiedKFold

from roots.errors import ConfigError
from roots.sources.rows import fold_of_rows

LABELS = st.lists(st.sampled_from("xyz"), min_size=40, max_size=200).filter(
    lambda labels: min(Counter(labels).values()) >= 7
)


@settings(max_examples=60, deadline=None)
@given(labels=LABELS, folds=st.integers(2, 7), seed=st.integers(0, 9))
def test_classes_have_as_many_rows_in_each_fold_as_scikit_learn_gives_them(
    labels: list[str], folds: int, seed: int
) -> None:
    found = np.array(fold_of_rows(len(labels), folds=folds, seed=seed, strata=labels))
    assert set(found) == set(range(1, folds + 1))
    sizes = np.bincount(found, minlength=folds + 1)[1:]
    assert sizes.max() - sizes.min() <= 1
    theirs = StratifiedKFold(folds).split(np.zeros(len(labels)), labels)
    held = [Counter(labels[row] for row in rows) for _, rows in theirs]
    for name in set(labels):
        ours = sorted(
            np.sum((found == n) & (np.array(labels) == name)) for n in range(1, folds + 1)
        )
        assert ours[-1] - ours[0] <= 1
        assert ours == sorted(counter[name] for counter in held)


GROUPS = st.lists(st.sampled_from("abcdefghij"), min_size=40, max_size=120).filter(
    lambda groups: len(set(groups)) >= 4
)


@settings(max_examples=60, deadline=None)
@given(by=GROUPS, order=st.randoms(), seed=st.integers(0, 9))
def test_groups_stay_together_in_parts_as_equal_as_scikit_learns_whatever_the_order(
    by: list[str], order: object, seed: int
) -> None:
    found = fold_of_rows(len(by), folds=4, seed=seed, by=by)
    fold_of = dict(zip(by, found, strict=True))
    assert [fold_of[name] for name in by] == found, "a group is in one fold"
    theirs = [len(rows) for _, rows in GroupKFold(4).split(by, groups=by)]
    assert sorted(Counter(found).values()) == sorted(theirs)
    shuffled = list(by)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    again = fold_of_rows(len(by), folds=4, seed=seed, by=shuffled)
    assert again == [fold_of[name] for name in shuffled]


def test_the_division_is_known_and_depends_on_the_seed() -> None:
    """Written down: a fold of a cross-validation must be the same in a year."""
    assert fold_of_rows(12, folds=3, seed=1) == [1, 2, 3, 3, 1, 2, 2, 3, 3, 2, 1, 1]
    assert len({tuple(fold_of_rows(12, folds=3, seed=seed)) for seed in range(20)}) == 20


def test_copies_are_of_one_class_and_in_one_fold() -> None:
    texts = [f"text {n % 20}" for n in range(40)]
    labels = ["even" if n % 2 == 0 else "odd" for n in range(40)]
    found = fold_of_rows(40, folds=5, seed=1, by=texts, strata=labels)
    assert found[:20] == found[20:]
    for n in range(1, 6):
        assert Counter(la for la, f in zip(labels, found, strict=True) if f == n) == {
            "even": 4,
            "odd": 4,
        }


def test_a_class_with_fewer_texts_than_folds_is_refused_and_as_many_are_enough() -> None:
    labels = ["rare"] * 3 + ["often"] * 9
    words = (
        r"5 folds need as many different texts of the class 'rare' .*, and 3 rows of the class"
        r" 'rare' have 3\. Set folds to at most 3, or give more rows"
    )
    with pytest.raises(ConfigError, match=words):
        fold_of_rows(12, folds=5, seed=1, strata=labels)
    assert set(fold_of_rows(12, folds=3, seed=1, strata=labels)[:3]) == {1, 2, 3}
    with pytest.raises(ConfigError, match=r"and 8 rows have 1\. Give more rows"):
        fold_of_rows(8, folds=2, seed=1, by=["only"] * 8)
    with pytest.raises(ConfigError, match="by has 2 items for 3 rows"):
        fold_of_rows(3, folds=2, seed=1, by=["a", "b"])
