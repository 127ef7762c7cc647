"""LabelSet: names, numbers, and what is no label."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roots.errors import ConfigError, DataError
from roots.records import plain, rebuild
from roots.sources.rows import LabelSet, label_name, plain_labels


def test_numbers_are_in_their_order_and_names_in_theirs() -> None:
    assert LabelSet.of(["10", "9", "-1", "9"], "label").names == ("-1", "9", "10")
    assert LabelSet.of(["b", "a", "10", "9"], "label").names == ("10", "9", "a", "b")


@given(labels=st.lists(st.integers(-99, 99).map(str), min_size=2).filter(lambda x: len(set(x)) > 1))
def test_the_order_of_the_rows_does_not_count(labels) -> None:
    forward, backward = LabelSet.of(labels, "x"), LabelSet.of(labels[::-1], "x")
    assert forward == backward
    assert [forward.number(name) for name in forward.names] == list(range(len(forward)))
    assert list(map(int, forward.names)) == sorted(set(map(int, labels)))


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("a ", "a"),
        (1, "1"),
        (1.0, "1"),
        (True, "true"),
        ("1", "1"),
        (None, None),
        ("", None),
        ("  ", None),
        (float("nan"), None),
        ("NaN", None),
        (float("inf"), None),
        (0.5, None),
        (Decimal("3.00"), "3"),
        (Decimal("0.5"), None),
        (Decimal("NaN"), None),
        ([1], None),
    ],
)
def test_a_label_is_a_name_or_none(value, name) -> None:
    assert label_name(value) == name


def test_a_list_in_a_file_gives_numbers_to_the_lines(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MY_LABELS", str(tmp_path))
    (tmp_path / "classes.txt").write_text("\ufefffinance\r\nreal estate\nsport")
    labels = LabelSet.given("${MY_LABELS}/classes.txt")
    assert labels.names == ("finance", "real estate", "sport")
    assert [labels.number(x) for x in ("sport", "2", "0", "3", "-1", "²", "9" * 5000)] == [
        *(2, 2, 0),
        *(None, None, None, None),
    ]
    assert LabelSet.given(["1", "2"]).number("1") == 0, "a name goes before a number"
    assert LabelSet.of(["neg", "pos"], "label").number("1") is None


def test_names_that_are_numbers_may_be_written_as_numbers(tmp_path) -> None:
    assert plain_labels([2, 1.0, "x"]) == ["2", "1", "x"]
    assert LabelSet.given([2, 1.0]) == LabelSet.given(["2", "1"])
    with pytest.raises(ConfigError, match=r"an empty name \(number 1\)"):
        LabelSet.given(["a", None])
    (tmp_path / "labels.txt").write_text("a\nb\n")
    assert LabelSet.given(tmp_path / "labels.txt").names == ("a", "b")


def test_it_is_saved_and_read_again(tmp_path) -> None:
    for labels in (LabelSet(["ä", "b"]), LabelSet(["x", "y"], by_number=True)):
        labels.save(tmp_path / "deep" / "labels.json")
        assert LabelSet.load(tmp_path / "deep" / "labels.json") == labels
        assert LabelSet.given(f"{tmp_path}/deep/labels.json") == labels
        assert rebuild(plain(labels), LabelSet) == labels
    (tmp_path / "plain.json").write_text(json.dumps(["x", "y"]))
    assert LabelSet.load(tmp_path / "plain.json") == labels


@pytest.mark.parametrize("content", ["{", "{}", '{"names": [1, 2], "by_number": true}', "7"])
def test_another_file_is_refused_with_the_form(tmp_path, content) -> None:
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(DataError, match=r"labels\.json is no list of labels .*\"names\""):
        LabelSet.load(tmp_path / "labels.json")
    (tmp_path / "labels.json").write_text('{"names": ["negative", "positive"], "by_number": false}')
    assert len(LabelSet.load(tmp_path / "labels.json")) == 2


def test_lists_with_slips_are_refused_by_place(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"has 'a' 2 times \(numbers 0, 2\)"):
        LabelSet(["a", "b", "a"])
    with pytest.raises(ConfigError, match=r"has 1 names, and a classifier needs two"):
        LabelSet(["a"])
    (tmp_path / "classes.txt").write_text("a\n\nb\n")
    with pytest.raises(
        ConfigError, match=r"classes\.txt, one label a line, has an empty .*number 1"
    ):
        LabelSet.given(f"{tmp_path}/classes.txt")
    (tmp_path / "classes.txt").write_text("a\nb\n\n")
    assert LabelSet.given(f"{tmp_path}/classes.txt").names == ("a", "b")
    with pytest.raises(DataError, match=r"other\.txt does not exist"):
        LabelSet.given(f"{tmp_path}/other.txt")


def test_what_are_no_classes_is_refused() -> None:
    with pytest.raises(DataError, match=r"Column 'y' .* the single label 'a' in 3 rows"):
        LabelSet.of(["a"] * 3, "y")
    with pytest.raises(DataError, match=r"holds no label in 0 rows"):
        LabelSet.of([], "y")
    texts = [f"text {i}" for i in range(500)]
    with pytest.raises(DataError, match=r"500 different values in 600 rows, such as 'text 0'"):
        LabelSet.of(texts + texts[:100], "y")
    assert len(LabelSet.of(texts * 2, "y")) == 500


def test_an_unknown_label_is_told_with_all_and_the_nearest() -> None:
    few = LabelSet(["Sports", "World"], by_number=True)
    assert few.unknown("Sprots") == (
        "'Sprots' is none of the labels Sports, World, nor a number from 0 to 1"
        " (did you mean 'Sports'?)"
    )
    many = LabelSet([f"l{i}" for i in range(40)])
    assert "l11, … (40 in all)" in many.unknown("zzz")
    assert "l12" not in many.unknown("zzz")


def test_labels_missing_in_the_training_split_are_refused_by_name() -> None:
    labels = LabelSet.given(["a", "b", "c"])
    with pytest.raises(DataError, match=r"in the training split: b, c \(2 of the 3 given\).*'y'"):
        labels.check_all_seen({0}, "y")
    labels.check_all_seen({0, 1, 2}, "y")
    LabelSet.given(["a", "d"]).check_all_seen([1, 0, 1], "y")


def test_numbers_that_are_names_leave_no_place_for_other_numbers() -> None:
    stars = LabelSet.given([1, 2, 3, 4, 5])
    assert [stars.number(str(n)) for n in range(7)] == [None, 0, 1, 2, 3, 4, None]
    assert "number from" not in stars.unknown("0")
