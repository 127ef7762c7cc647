"""What a person watches: lines in a file, one line that is written over on a terminal."""

from __future__ import annotations

import io
import sys

import pytest

from roots.callbacks import Progress
from roots.callbacks.progress import write_line
from roots.fit import compose
from roots.records import clock


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_without_a_terminal_every_report_is_a_line_of_its_own(
    config: dict, capsys: pytest.CaptureFixture
) -> None:
    compose(config, {"trainer.progress": True}).fit()
    remark, formats, *lines = capsys.readouterr().err.splitlines()
    assert remark.startswith("attention: sdpa, ")
    assert formats.startswith("number formats: parameters float32 ")
    saved = [line for line in lines if line.startswith("saved step ")]
    assert [line.split(":")[0] for line in saved] == ["saved step 3", "saved step 6"]
    lines = [line for line in lines if line not in saved]  # the first comes when it is written
    assert [line.split(" · ")[0] for line in lines] == [
        "step 1/6",
        "step 2/6",
        "step 3/6",
        "validated after step 3",
        "step 4/6",
        "step 5/6",
        "step 6/6",
        "validated after step 6",
    ]
    assert " · loss 5." in lines[0]
    assert lines[0].endswith(" left")
    assert "tokens/s" in lines[0]
    assert "bits_per_byte" in lines[3]


def test_on_a_terminal_the_line_is_written_over_and_ended(
    config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    compose(config, {"trainer.progress": True}).fit()
    written = terminal.getvalue()
    parts = written.split("\r\x1b[K")
    assert parts[1].startswith("attention: sdpa, ")
    assert parts[2].startswith("number formats: ")
    assert parts[3].startswith("step 1/6 · loss")
    assert "\n" not in parts[3]
    kept = [p for p in parts if p.endswith("\n") and not p.startswith("saved step ")]
    assert [part.split(" · ")[0] for part in kept[2:]] == [
        "validated after step 3",
        "step 6/6",
        "validated after step 6",
    ]
    assert any(part.startswith("validating 1/") for part in parts)


def test_a_line_that_is_open_when_the_run_fails_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = Progress()
    progress._show("step 1", stay=False)
    progress.close()
    progress.close()
    assert terminal.getvalue() == "\r\x1b[Kstep 1\n"


@pytest.mark.parametrize("stay", [True, False])
def test_a_line_in_a_file_has_no_control_characters(stay: bool) -> None:
    stream = io.StringIO()
    write_line(stream, "words", stay=stay)
    assert stream.getvalue() == "words\n"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0:00"),
        (0.4, "0:00"),
        (42, "0:42"),
        (59.6, "1:00"),
        (60, "1:00"),
        (3599, "59:59"),
        (3600, "1:00:00"),
        (3 * 3600 + 7 * 60 + 10, "3:07:10"),
        (100 * 3600, "100:00:00"),
    ],
)
def test_a_duration_reads_like_a_clock(seconds: float, words: str) -> None:
    assert clock(seconds) == words
