"""Columns: the task's names for what a file calls otherwise."""

from __future__ import annotations

import pytest

from roots.errors import ConfigError, DataError
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


def test_a_named_column_that_no_row_has_is_told_and_some_rows_may_lack_it() -> None:
    settings = {"fields": ["text"], "optional": ["origin", "label"]}
    wrong = Columns({"text": "sentence", "origin": "sauce"}, **settings)
    assert wrong(ROW).fields == {"text": "a", "label": "1"}
    with pytest.raises(DataError, match=r"'sauce' .* field 'origin' \(did you mean 'source'\?\)"):
        wrong.check_met()
    wrong.anew(wrong.fields).check_met()  # which has met no row
    right = Columns({"text": "sentence", "origin": "source"}, **settings)
    assert right(ROW).fields == {"text": "a", "origin": "x", "label": "1"}
    assert right(Row({"sentence": "b"}, "f:2")).fields == {"text": "b"}
    right.check_met()


def test_a_field_that_the_task_does_not_read_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"field 'txt' \(did you mean 'text'\?\).*text, label, id"
    ):
        Columns({"txt": "a"}, fields=["text", "label"], optional=["id"])


def test_a_header_in_one_piece_points_to_the_delimiter() -> None:
    row = Columns({}, fields=["text"])(Row({"text;label": "a;1"}, "a.csv:2"))
    assert isinstance(row, BadRow)
    assert "set the reader's delimiter to ';'" in row.message
