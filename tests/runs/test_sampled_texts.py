"""The file of sampled texts: what is added comes back, what is torn or made again goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from roots.runs import Run

ROWS = [{"step": step, "text": f"行 {step}\u2028\r\n"} for step in (1, 2, 2, 5)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path)
    run.samples.add(ROWS[:3])
    run.samples.add(ROWS[3:])
    return run


def test_what_was_added_comes_back(run: Run) -> None:
    assert run.samples.read() == ROWS
    assert "行 1" in run.samples.file.read_text(encoding="utf-8")  # to be read by people too


@pytest.mark.parametrize("torn", ['{"step": 3, "te', "[1]\n", "\n"])
def test_what_is_no_text_is_neither_read_nor_kept(run: Run, torn: str) -> None:
    whole = run.samples.file.read_text(encoding="utf-8")
    run.samples.file.write_text(whole + torn, encoding="utf-8")
    assert run.samples.read() == ROWS
    run.samples.drop(after=5)
    assert run.samples.file.read_text(encoding="utf-8") == whole


def test_texts_of_later_steps_go_and_a_step_that_is_none_with_them(run: Run) -> None:
    run.samples.add([{"step": None}, {"step": "x"}])
    run.samples.drop(after=2)
    assert run.samples.read() == ROWS[:3]


def test_a_file_with_nothing_to_drop_is_not_written_again(run: Run) -> None:
    before = run.samples.file.stat()
    run.samples.drop(after=5)
    after = run.samples.file.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_run_without_texts(tmp_path: Path) -> None:
    samples = Run(tmp_path).samples
    samples.drop(after=0)
    assert samples.read() == []
    assert not samples.file.exists()


def test_a_byte_that_is_no_utf8_is_told(run: Run) -> None:
    with run.samples.file.open("ab") as file:
        file.write(json.dumps({"step": 6}).encode() + b"\xff\n")
    with pytest.raises(UnicodeDecodeError):
        run.samples.read()
