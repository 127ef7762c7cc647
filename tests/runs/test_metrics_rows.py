"""A metrics file is read whole, or refused with its line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from roots.errors import DataError
from roots.runs import load_metrics

HEAD = "step,train/loss,val/loss\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "metrics.csv"
    path.write_text(text)
    return path


def test_rows_become_numbers_and_what_was_not_reported_is_absent(tmp_path: Path) -> None:
    metrics = load_metrics(written(tmp_path, HEAD + "1,2.5,\n3,nan,1.25\n"))
    assert metrics.names == ("train/loss", "val/loss")
    assert metrics.rows[1] == {"train/loss": 2.5}
    assert math.isnan(metrics.rows[3]["train/loss"])
    assert metrics.series("val/loss") == ([3], [1.25])
    assert metrics.last_step == 3
    assert metrics.best("train/loss", "min") == (1, 2.5)  # not a number is never the best
    assert metrics.best("val/other", "min") is None


def test_a_file_that_is_not_there_or_empty_has_no_rows(tmp_path: Path) -> None:
    assert load_metrics(tmp_path / "none.csv").rows == {}
    assert load_metrics(written(tmp_path, "")).rows == {}


def test_a_last_row_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    assert list(load_metrics(written(tmp_path, HEAD + "1,2.5,\n2,2.")).rows) == [1]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("2,2.0\n", "it has 2 values for 3 columns"),
        ("2,2.0,1.0,9\n", "it has 4 values for 3 columns"),
        ("2,two,\n", "could not convert string to float: 'two'"),
        ("two,2.0,\n", "invalid literal for int"),
        ("1,2.0,\n", "step 1 follows step 1"),
    ],
)
def test_a_garbled_row_is_named_and_deleting_it_cures(tmp_path: Path, line: str, what: str) -> None:
    path = written(tmp_path, HEAD + "1,2.5,\n" + line + "3,1.5,\n")
    with pytest.raises(DataError, match=rf"Line 3 of {path} is garbled: {what}"):
        load_metrics(path)
    lines = path.read_text().splitlines(keepends=True)
    assert list(load_metrics(written(tmp_path, "".join(lines[:2] + lines[3:]))).rows) == [1, 3]


@pytest.mark.parametrize("head", ["train/loss,step\n", "step,a,a\n", "1,2.5\n"])
def test_a_heading_that_is_none_is_refused(tmp_path: Path, head: str) -> None:
    with pytest.raises(DataError, match="does not begin with a heading of different names"):
        load_metrics(written(tmp_path, head + "1,2.5\n"))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(HEAD.encode() + b"1,\xff,\n")
    with pytest.raises(DataError, match=r"no text in UTF-8 \(.* at byte 27\)"):
        load_metrics(path)
