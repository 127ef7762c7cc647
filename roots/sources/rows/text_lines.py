"""Lines of text of which each knows its own trouble: a bad byte costs its row, not the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from roots.errors import DataError
from roots.records import BadRow
from roots.sources.decoding import MAX_DOCUMENT_BYTES, check_not_wide, too_large, without_bom
from roots.sources.opening import numbered_lines

UNDECODABLE = "undecodable bytes"


class Line(NamedTuple):
    r"""One line of a file.

    Args:
        number: From 1.
        text: What is on it, with its end; what cannot be decoded is written as `\\xff`.
        problem: Why it cannot be used; empty for a good line.
    """

    number: int
    text: str
    problem: str


def text_lines(path: Path, encoding: str) -> Iterator[Line]:
    r"""Streams the lines of a file; they end at `\n` alone, and the first loses its BOM.

    Raises:
        DataError: The file is UTF-16, a line is too long to hold, or its compression is damaged or
            not read.
    """
    for number, offset, raw in numbered_lines(path):
        if len(raw) > MAX_DOCUMENT_BYTES:
            raise too_large(path, len(raw), f"Cut the text of line {number:,}.")
        if number == 1:
            check_not_wide(path, raw)
            offset = len(raw) - len(without_bom(raw))  # noqa: PLW2901
        yield decoded(raw[offset:] if number == 1 else raw, number, offset, encoding)


def decoded(raw: bytes, number: int, offset: int, encoding: str) -> Line:
    """Decodes a line that begins at byte `offset` of its file."""
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        place = f"byte {offset + error.start:,} of the file (0x{raw[error.start]:02x})"
        text = raw.decode(encoding, errors="backslashreplace")
        return Line(number, text, f"{place} is not {encoding}")
    if "\0" in text:
        return Line(number, text, f"byte {offset + raw.index(0):,} of the file is NUL")
    return Line(number, text, "")


def undecodable(path: Path, line: Line, start: int = 0) -> BadRow:
    """Words the refusal of a row for the bytes of one of its lines.

    Args:
        path: The file.
        line: The line with the problem.
        start: The line on which the row starts, where that is another one.
    """
    where = f"{path}:{start or line.number}"
    cure = "Mend the line, or set the source's encoding to what the file is (latin-1, gb18030, …)."
    return BadRow(where, UNDECODABLE, f"{where}: {line.problem}. {cure}", line.text.rstrip("\r\n"))


def whole_text(path: Path, raw: bytes, encoding: str) -> str:
    """Decodes a file that cannot be read in parts.

    Raises:
        DataError: A byte of it cannot be decoded.
    """
    check_not_wide(path, raw)
    try:
        return without_bom(raw).decode(encoding)
    except UnicodeDecodeError as error:
        at = error.start + len(raw) - len(without_bom(raw))
        raise DataError(
            f"{path}: byte {at:,} (0x{raw[at]:02x}) is not {encoding}. Convert the file to UTF-8"
            f" (iconv -f ENCODING -t UTF-8 {path} > {path.stem}-utf8{path.suffix})."
        ) from error
