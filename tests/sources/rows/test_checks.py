"""What is asked of one row: the good pass, the bad are told with row, field and cure."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roots.records import BadRow, Row
from roots.sources.rows import HasText, LabelSet, ManyLabels, Number, OneLabel, TaggedWords

NAN = float("nan")
NAMES = LabelSet(["neg", "pos"])
BY_NUMBER = LabelSet(["neg", "pos"], by_number=True)


def told(check, fields: dict, reason: str) -> str:
    result = check(Row(fields, "dev.tsv:17"))
    assert isinstance(result, BadRow)
    assert (result.where, result.reason, result.content) == ("dev.tsv:17", reason, fields)
    assert result.message.startswith("dev.tsv:17: ")
    return result.message


def value(check, fields: dict) -> object:
    result = check(Row(fields, "dev.tsv:17"))
    assert isinstance(result, Row)
    return result.fields[check.field]


@pytest.mark.parametrize(
    ("text", "reason", "words"),
    [
        ("", "empty text", "'text' is empty. Fill it in, or delete the row."),
        (" \u3000\n", "empty text", "is empty"),
        (NAN, "NaN", "'text' is NaN, not text"),
        (None, "not text", "'text' is null, not text"),
        (3, "not text", "is a number, not text. Map a column of texts"),
        (b"x", "not text", "is binary data, not text. Map a column of texts"),
        (["a"], "not text", "is a list"),
    ],
)
def test_what_is_no_text_is_told(text, reason, words) -> None:
    assert words in told(HasText("text"), {"text": text}, reason)
    assert value(HasText("text"), {"text": " kept as it is "}) == " kept as it is "


@pytest.mark.parametrize(
    ("number", "reason", "words"),
    [
        ("", "not a number", "'y' is '', not a number"),
        ("3,5", "not a number", "decimal point, such as 3.5"),
        ("1_000", "not a number", "'1_000'"),
        ("٣", "not a number", "not a number"),
        (True, "not a number", "is True"),
        (None, "not a number", "is None"),
        (NAN, "NaN", "is nan. Give a finite number"),
        ("nan", "NaN", "is 'nan'"),
        ("-Infinity", "infinite number", "is '-Infinity'"),
        ("1e999", "infinite number", "is '1e999'"),
        (math.inf, "infinite number", "is inf"),
        (10**400, "infinite number", "'y' is 1"),
    ],
)
def test_what_is_no_finite_number_is_told(number, reason, words) -> None:
    assert words in told(Number("y"), {"y": number}, reason)


@given(number=st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**18), 10**18))
def test_numbers_come_as_floats_also_out_of_texts(number) -> None:
    assert value(Number("y"), {"y": number}) == float(number)
    assert value(Number("y"), {"y": f" {number!r} "}) == float(number)
    assert value(Number("y"), {"y": Decimal(number)}) == float(number)


def test_a_label_becomes_a_name_and_with_known_labels_a_number() -> None:
    assert value(OneLabel("y"), {"y": 1.0, "other": 2}) == "1"
    assert value(OneLabel("y", NAMES), {"y": "pos"}) == 1
    message = told(OneLabel("y", NAMES), {"y": "poss"}, "unknown label")
    assert "'y': the label 'poss' is none of the labels neg, pos (did you mean 'pos'?)" in message
    assert "'y' is nan, which is no label" in told(OneLabel("y", NAMES), {"y": NAN}, "NaN")
    assert "is '', which" in told(OneLabel("y"), {"y": ""}, "missing label")
    assert "is None, which" in told(OneLabel("y"), {}, "missing label")


def test_many_labels_come_from_a_list_or_a_text() -> None:
    assert value(ManyLabels("y"), {"y": ["b", "a"]}) == ("b", "a")
    assert value(ManyLabels("y", NAMES, separator="|"), {"y": "pos | neg"}) == (1, 0)
    assert value(ManyLabels("y", NAMES), {"y": []}) == ()
    assert value(ManyLabels("y", NAMES), {"y": " "}) == ()
    assert "'y': the label 'x'" in told(
        ManyLabels("y", NAMES), {"y": ["pos", "x"]}, "unknown label"
    )
    assert "is '', which is no" in told(ManyLabels("y", NAMES), {"y": "pos,,neg"}, "missing label")
    assert "'y' is null, not a list" in told(ManyLabels("y"), {"y": None}, "missing label")
    assert "is nan" in told(ManyLabels("y"), {"y": [NAN]}, "NaN")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([0, 1, 0], None),
        ([1.0, 1], None),
        ([1, 1], BY_NUMBER),
        (["neg", 0], BY_NUMBER),
        ("pos,neg,pos", NAMES),
    ],
)
def test_a_label_that_stands_twice_is_refused_as_vectors_of_0_and_1_are(labels, names) -> None:
    message = told(ManyLabels("y", names), {"y": labels}, "label twice")
    last = labels.split(",")[-1] if isinstance(labels, str) else labels[-1]
    assert f"the label {last!r} stands twice; a list names the labels that are there" in message
    assert "for a vector of 0 and 1 write the names of its ones" in message


@pytest.mark.parametrize("labels", [[0], [1], [0, 1], [1, 0], [2, 0, 1]])
def test_lists_of_numbers_of_classes_are_read(labels) -> None:
    names = LabelSet(["a", "b", "c"], by_number=True)
    assert value(ManyLabels("y", names), {"y": labels}) == tuple(labels)
    assert value(ManyLabels("y"), {"y": labels}) == tuple(map(str, labels))


TAGS = LabelSet(["B-x", "O"])


@pytest.mark.parametrize(
    ("words", "tags", "reason", "text"),
    [
        (["a"], ["O", "O"], "lengths differ", "1 words and 2 tags. Give each word one tag"),
        ([], [], "empty text", "'words' is empty"),
        (["a", " "], ["O", "O"], "empty text", "item 2 of 'words' is ' ', not a word"),
        (["a", 3], ["O", "O"], "empty text", "item 2 of 'words' is 3, not a word"),
        ("a b", ["O", "O"], "not a list", "'words' is a string, not a list"),
        (["a"], None, "not a list", "'tags' is null, not a list"),
        (["a"], [None], "missing label", "item 1 of 'tags' (for 'a') is None, no tag"),
        (["a"], ["B-y"], "unknown label", "item 1 of 'tags' (for 'a'): the label 'B-y' is none of"),
    ],
)
def test_words_and_tags_that_do_not_fit_are_told(words, tags, reason, text) -> None:
    check = TaggedWords(labels=TAGS)
    assert text in told(check, {"words": words, "tags": tags}, reason)
    good = check(Row({"words": ["a", "b"], "tags": ["O", "B-x"]}, "x:1"))
    assert good == Row({"words": ["a", "b"], "tags": [1, 0]}, "x:1")
    names = TaggedWords()(Row({"words": ["a"], "tags": [7]}, "x:1"))
    assert names.fields["tags"] == ["7"]
