"""Progress: shares and times follow from the counts; off a terminal the log stays short."""

from __future__ import annotations

import io

from roots.corpus.progress import Progress, megabytes


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(stream: io.StringIO, seconds_per_document: float, n: int, show: bool = True) -> str:
    now = [0.0]
    progress = Progress(
        label="encode", total_bytes=n * 1000, show=show, stream=stream, clock=lambda: now[0]
    )
    for _ in range(n):
        now[0] += seconds_per_document
        progress.add(1000)
    progress.finish()
    return stream.getvalue()


def test_off_a_terminal_a_line_comes_every_ten_seconds() -> None:
    lines = run(io.StringIO(), 1.0, 40).splitlines()
    assert len(lines) == 5
    assert lines[0] == "encode: 1 documents/s, 25% of 40.0 kB, 30 s left"
    assert lines[-1] == "encode: 40 documents, 40.0 kB, 40.0 s (1.0 kB/s)"


def test_on_a_terminal_one_line_is_updated() -> None:
    shown = run(Terminal(), 1.0, 40)
    assert shown.count("\r\x1b[K") == 41
    assert shown.count("\n") == 1


def test_silence_is_silent() -> None:
    assert run(io.StringIO(), 1.0, 40, show=False) == ""


def test_sizes_are_written_for_a_reader() -> None:
    assert [megabytes(n) for n in (0, 999, 1000, 12_081_798, 3.4e9)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "12.1 MB",
        "3.4 GB",
    ]
