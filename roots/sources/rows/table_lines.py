"""Lines of a table to the values on them, with and without quotes.

An unclosed quote would swallow the rest of a file. So a quoted record that fails is one bad line,
and reading goes on behind that line, not behind what it swallowed. What two stray quotes
enclose by the rules of csv is one value; nothing tells it from a real one.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from roots.records import BadRow
from roots.sources.decoding import MAX_DOCUMENT_BYTES
from roots.sources.rows.text_lines import Line, text_lines, undecodable

BROKEN_QUOTES = "broken quotes"
MAX_LINES = 10_000
"""Lines that a quoted record may span: without a limit, each open quote could cost the file."""

_CURE = "Close each quoted value and double the quotes inside it, or set quoting to none."


class Record(NamedTuple):
    """The values of one row.

    Args:
        number: The line on which it starts, from 1.
        values: Its values; empty where there is a problem.
        problem: The row as a bad one, if it is.
    """

    number: int
    values: list[str]
    problem: BadRow | None


def plain_records(path: Path, delimiter: str, encoding: str) -> Iterator[Record]:
    """Streams a table in which each line is a row and a quote is a character as any other."""
    for line in text_lines(path, encoding):
        if line.problem:
            yield Record(line.number, [], undecodable(path, line))
        elif text := line.text.removesuffix("\n").removesuffix("\r"):
            yield Record(line.number, text.split(delimiter), None)


def quoted_records(path: Path, delimiter: str, encoding: str) -> Iterator[Record]:
    """Streams a table in which a value in double quotes may hold delimiters and newlines."""
    # The limit is the whole process's; it is only ever raised, from 128 KiB to what a text may be.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_DOCUMENT_BYTES))
    supply = _Supply(text_lines(path, encoding))
    reader: Iterator[list[str]] = csv.reader(supply, delimiter=delimiter, strict=True)
    while True:
        supply.taken.clear()
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield _broken(path, supply.taken[0], error)
            reader = supply.go_on_after_first(delimiter)
            continue
        if values:
            yield _record(path, supply.taken, values)


class _Supply:
    """Feeds lines to a `csv.reader`, and can take back those that a failed record consumed."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self.lines = lines
        self.taken: list[Line] = []
        self.again: deque[Line] = deque()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self.taken) == MAX_LINES:
            raise csv.Error(f"a quote is still open after {MAX_LINES:,} lines")
        line = self.again.popleft() if self.again else next(self.lines)
        self.taken.append(line)
        return line.text

    def go_on_after_first(self, delimiter: str) -> Iterator[list[str]]:
        """Makes a new reader that starts on the second of the lines that were taken."""
        self.again.extendleft(reversed(self.taken[1:]))
        return csv.reader(self, delimiter=delimiter, strict=True)


def _record(path: Path, taken: list[Line], values: list[str]) -> Record:
    start = taken[0].number
    bad = next((line for line in taken if line.problem), None)
    return Record(start, [], undecodable(path, bad, start)) if bad else Record(start, values, None)


def _broken(path: Path, line: Line, error: object) -> Record:
    where = f"{path}:{line.number}"
    if line.problem:
        return Record(line.number, [], undecodable(path, line))
    text = line.text.removesuffix("\n").removesuffix("\r")
    message = f"{where}: the double quotes do not fit ({error}). {_CURE}"
    if "\r" in text:
        message = f"{where}: a carriage return stands outside quotes ({error}). {_CURE}"
    return Record(line.number, [], BadRow(where, BROKEN_QUOTES, message, text))
