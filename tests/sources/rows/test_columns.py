"""Columns: the task's names for what a file calls otherwise."""

from __future__ import annotations

import pytest

from roots.errors import ConfigError
from roots.records import BadRow, Row
from roots.sources.rows import Columns

ROW = Row({"sentence": "a", "label": "1", "source": "x"}, "train.tsv:17")


def test_fields_are_taken_from_their_columns_and_the_rest_is_dropped() -> None:
    take = Columns({"text": "sentence"}, fields=["text", "label"], optional=["id", "source"])
    assert take(ROW) == Row({"text": "a", "label": "1", "source": "x"}, "train.tsv:17")


def test_a_missing_column_is_told_with_the_nearest_and_the_cure_works() -> None:
    row = Columns({"text": "sentense"}, fields=["text"])(ROW)
    assert isinstance(row, BadRow)
    assert row.message == (
        "train.tsv:17 has no column 'sentense' for the field 'text' (did you mean 'sentence'?);"
        " its columns are: sentence, label, source. Set columns to {text: NAME} with the right one."
    )
    assert row.reason == "no column 'sentense'"
    assert Columns({"text": "sentence"}, fields=["text"])(ROW).fields == {"text": "a"}


def test_a_named_column_is_needed_also_for_a_field_that_a_row_may_lack() -> None:
    settings = {"fields": ["text"], "optional": ["origin", "label"]}
    row = Columns({"text": "sentence", "origin": "sauce"}, **settings)(ROW)
    assert isinstance(row, BadRow)
    assert "no column 'sauce' for the field 'origin' (did you mean 'source'?)" in row.message
    assert row.message.endswith("Leave origin out of it where the rows have none.")
    right = Columns({"text": "sentence", "origin": "source"}, **settings)(ROW)
    assert right.fields == {"text": "a", "origin": "x", "label": "1"}
    without = Columns({"text": "sentence"}, **settings)(ROW)
    assert without.fields == {"text": "a", "label": "1"}


def test_a_field_that_the_task_does_not_read_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"field 'txt' \(did you mean 'text'\?\).*text, label, id"
    ):
        Columns({"txt": "a"}, fields=["text", "label"], optional=["id"])


def test_a_header_in_one_piece_points_to_the_delimiter() -> None:
    row = Columns({}, fields=["text"])(Row({"text;label": "a;1"}, "a.csv:2"))
    assert isinstance(row, BadRow)
    assert "set the reader's delimiter to ';'" in row.message
