"""CheckedRows: read = kept + rejected by reason, on any input."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.errors import ConfigError, DataError
from roots.records import BadRow, Row
from roots.sources.rows import (
    CheckedRows,
    Columns,
    Delimited,
    HasText,
    JsonRows,
    LabelSet,
    OneLabel,
    RowSource,
)

CHECKS = [
    Columns({"text": "sentence"}, fields=["text", "label"]),
    HasText("text"),
    OneLabel("label", LabelSet(["0", "1"])),
]


class Made(RowSource):
    """A source of the rows that it is given."""

    def __init__(self, *, items: list[Row | BadRow]) -> None:
        self.items = items

    def read(self):
        yield from self.items

    def files(self) -> list[Path]:
        return [Path("made.csv")]


def write(path: Path, *lines: str) -> Delimited:
    path.write_text("\n".join(("sentence\tlabel", *lines)) + "\n")
    return Delimited(paths=str(path))


def test_a_bad_row_ends_it_with_row_column_and_the_way_out(tmp_path) -> None:
    source = write(tmp_path / "a.tsv", "good\t1", "bad\t2", "good\t0")
    rows = iter(CheckedRows(source, checks=CHECKS))
    assert next(rows) == Row({"text": "good", "label": 1}, f"{tmp_path}/a.tsv:2")
    with pytest.raises(
        DataError, match=r"a\.tsv:3: 'label': the label '2' is none .* set on_bad_row to skip"
    ):
        next(rows)
    skipping = CheckedRows(source, checks=CHECKS, on_bad_row="skip", max_bad_fraction=0.5)
    assert [row.fields["label"] for row in skipping] == [1, 0]


def test_the_books_and_the_file_of_rejected_rows(tmp_path) -> None:
    lines = ["good\t1"] * 97 + ["\t1", "x\t7", "too\tmany\tcolumns"]
    rejected = tmp_path / "deep" / "rejected.jsonl"
    rows = CheckedRows(
        write(tmp_path / "a.tsv", *lines),
        checks=CHECKS,
        on_bad_row="skip",
        max_bad_fraction=0.03,
        rejected_file=rejected,
    )
    assert len(list(rows)) == 97
    assert (rows.books.read, rows.books.kept, rows.books.n_rejected) == (100, 97, 3)
    assert rows.books.rejected == {"empty text": 1, "unknown label": 1, "unequal columns": 1}
    assert rows.books.remark() == (
        "3 of 100 rows were left out (1 empty text, 1 unequal columns, 1 unknown label);"
        f" they are in {rejected}."
    )
    written = [json.loads(line) for line in rejected.read_text().splitlines()]
    assert [w["where"] for w in written] == [f"{tmp_path}/a.tsv:{n}" for n in (99, 100, 101)]
    assert written[0]["row"] == {"sentence": "", "label": "1"}, "as the file has it"
    assert written[2]["row"] == ["too", "many", "columns"]
    assert [w["reason"] for w in written] == ["empty text", "unknown label", "unequal columns"]
    assert len(list(JsonRows(paths=str(rejected)).rows())) == 3
    write(tmp_path / "a.tsv", "good\t1")
    assert len(list(rows)) == 1
    assert not rejected.exists(), "what a mended file no longer has is not left lying about"
    assert rows.books.remark() == ""


def test_too_many_bad_rows_are_an_error_with_share_reasons_and_examples(tmp_path) -> None:
    lines = ["good\t1"] * 95 + ["x\t7"] * 4 + ["\t1"]
    rejected = tmp_path / "rejected.jsonl"
    settings = {"checks": CHECKS, "on_bad_row": "skip", "rejected_file": rejected}
    rows = CheckedRows(write(tmp_path / "a.tsv", *lines), **settings)
    with pytest.raises(DataError) as caught:
        list(rows)
    text = str(caught.value)
    assert "5 of 100 rows were left out (4 unknown label, 1 empty text)" in text
    assert "That is 5.00%, more than max_bad_fraction=0.01" in text
    assert "a.tsv:97: 'label': the label '7'" in text
    assert "set max_bad_fraction to 0.05" in text
    assert len(rejected.read_text().splitlines()) == 5, "they can be looked at"
    cured = CheckedRows(rows.source, **settings, max_bad_fraction=0.05)
    assert len(list(cured)) == 95


def test_a_source_without_good_rows_is_refused(tmp_path) -> None:
    source = write(tmp_path / "a.tsv")
    with pytest.raises(DataError, match=r"a\.tsv: there is no row in it"):
        list(CheckedRows(source))
    write(tmp_path / "a.tsv", "x\t7")
    rows = CheckedRows(source, checks=CHECKS, on_bad_row="skip", max_bad_fraction=1)
    with pytest.raises(DataError, match=r"no row is good\. 1 of 1 rows .*unknown label"):
        list(rows)
    write(tmp_path / "a.tsv", "x\t1")
    assert len(list(rows)) == 1


def test_settings_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"on_bad_row='drop' is none of error, skip"):
        CheckedRows(Made(items=[]), on_bad_row="drop")
    with pytest.raises(ConfigError, match=r"max_bad_fraction=1\.5 is no share"):
        CheckedRows(Made(items=[]), max_bad_fraction=1.5)


@pytest.mark.parametrize("bad_rows", [0, 1])
def test_a_file_that_is_not_of_rejected_rows_is_never_touched(tmp_path, bad_rows: int) -> None:
    source = write(tmp_path / "a.tsv", "good\t1", *["x\t7"] * bad_rows)
    (tmp_path / "link.tsv").symlink_to(tmp_path / "a.tsv")
    (tmp_path / "notes.jsonl").write_text('{"where": "Rome"}\n')
    (tmp_path / "notes.txt").write_bytes(b"\xff\n")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    settings = {"checks": CHECKS, "on_bad_row": "skip", "max_bad_fraction": 0.5}
    for name in ("a.tsv", "link.tsv"):
        with pytest.raises(ConfigError, match=rf"{name} is what the rows are read from, so it"):
            CheckedRows(source, **settings, rejected_file=tmp_path / name)
    for name in ("notes.jsonl", "notes.txt", "empty", "folder"):
        with pytest.raises(ConfigError, match=rf"{name} is there, and holds no rejected rows"):
            CheckedRows(source, **settings, rejected_file=tmp_path / name)
    earlier = tmp_path / "earlier.jsonl"
    earlier.write_text('{"where": "a:1", "reason": "r", "message": "m", "row": {}}\n')
    with pytest.raises(ConfigError, match=r"earlier\.jsonl is what the rows are read from"):
        CheckedRows(JsonRows(paths=str(earlier)), on_bad_row="skip", rejected_file=earlier)
    late = CheckedRows(source, **settings, rejected_file=tmp_path / "late")
    (tmp_path / "late").write_text("written while the rows were read")
    with pytest.raises(ConfigError, match="late is there"):
        list(late)
    assert (tmp_path / "late").read_text() == "written while the rows were read"
    assert {path: path.read_bytes() for path in before} == before
    assert len(list(CheckedRows(source, **settings, rejected_file=tmp_path / "new"))) == 1


def test_a_file_for_rejected_rows_is_refused_where_none_are_left_out(tmp_path) -> None:
    source = write(tmp_path / "a.tsv", "good\t1")
    with pytest.raises(ConfigError, match=r"rejected_file=r is never written with on_bad_row=err"):
        CheckedRows(source, rejected_file="r")
    assert len(list(CheckedRows(source, on_bad_row="skip", rejected_file=tmp_path / "r"))) == 1


def test_the_file_of_rejected_rows_may_be_named_from_home(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    source = write(tmp_path / "a.tsv", "good\t1", "x\t7")
    settings = {"checks": CHECKS, "on_bad_row": "skip", "max_bad_fraction": 0.5}
    rows = CheckedRows(source, **settings, rejected_file="~/rejected.jsonl")
    assert len(list(rows)) == 1
    assert len((tmp_path / "rejected.jsonl").read_text().splitlines()) == 1
    assert rows.books.rejected_file == str(tmp_path / "rejected.jsonl")


FIELDS = st.fixed_dictionaries(
    {"sentence": st.text() | st.none() | st.floats(), "label": st.sampled_from(["0", "1", "2", ""])}
)
ITEMS = st.lists(
    FIELDS.map(lambda fields: Row(fields, "made.csv:1"))
    | st.builds(
        BadRow, st.just("x"), st.sampled_from(["bad JSON", "other"]), st.text(), st.text() | FIELDS
    )
)


@settings(max_examples=100, deadline=None)
@given(items=ITEMS)
def test_the_books_balance_on_any_input(tmp_path_factory, items) -> None:
    rejected = tmp_path_factory.mktemp("t") / "rejected.jsonl"
    rows = CheckedRows(
        Made(items=items),
        checks=CHECKS,
        on_bad_row="skip",
        max_bad_fraction=1,
        rejected_file=rejected,
    )
    kept: list[Row] = []
    with contextlib.suppress(DataError):  # there may be no good row
        kept.extend(rows)
    books = rows.books
    assert books.kept == len(kept)
    assert books.read == len(items) == books.kept + sum(books.rejected.values())
    written = rejected.read_text().split("\n")[:-1] if rejected.exists() else []
    reasons = [json.loads(line, parse_constant=pytest.fail)["reason"] for line in written]
    assert Counter(reasons) == books.rejected
