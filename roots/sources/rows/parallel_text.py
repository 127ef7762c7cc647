"""ParallelText: two files of which the same lines mean the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from roots.errors import ConfigError, DataError
from roots.records import BadRow, Row
from roots.sources.decoding import Decoder
from roots.sources.finding import find_files
from roots.sources.opening import parts
from roots.sources.rows.row_source import RowSource
from roots.sources.rows.text_lines import Line, text_lines, undecodable


class ParallelText(RowSource):
    r"""Reads pairs of lines, as translation sets are written; lines end at `\n` alone.

    A row has the fields `source` and `target` and is named by the source file and the line.

    Args:
        source: The file that is translated from; plain or `.gz`; `~` and `${VARIABLE}` expanded.
        target: The file that is translated to.
        encoding: How both are encoded.

    Raises:
        ConfigError: Both are the same file, or the encoding is unknown.
    """

    def __init__(self, *, source: str, target: str, encoding: str = "utf-8") -> None:
        if source == target:
            raise ConfigError(f"source and target are the same file, {source}. Give two files.")
        self.source = source
        self.target = target
        self.encoding = encoding
        Decoder(encoding=encoding)

    def files(self) -> list[Path]:
        """Lists the two files: the source, then the target."""
        return [_one(self.source, "source"), _one(self.target, "target")]

    def read(self) -> Iterator[Row | BadRow]:
        """Streams one row per pair of lines, once both files are known to have as many."""
        source, target = self.files()
        _check_aligned(source, target)
        lines = zip(
            text_lines(source, self.encoding), text_lines(target, self.encoding), strict=True
        )
        for ours, theirs in lines:
            if ours.problem or theirs.problem:
                yield undecodable(source, ours) if ours.problem else undecodable(target, theirs)
            else:
                fields = {"source": _content(ours), "target": _content(theirs)}
                yield Row(fields, f"{source}:{ours.number}")


def _one(name: str, setting: str) -> Path:
    found = find_files(name, [".txt"])
    if len(found) > 1:
        raise ConfigError(
            f"{setting}: {name} names {len(found)} files, {found[0]}, {found[1]}, …, and lines are"
            " paired file by file. Name one file, or join them first with cat."
        )
    return found[0]


def _check_aligned(source: Path, target: Path) -> None:
    n_source, n_target = _n_lines(source), _n_lines(target)
    if n_source != n_target:
        raise DataError(
            f"{source} has {n_source:,} lines and {target} {n_target:,}, so from some place on the"
            " lines no longer belong together. Fetch both files again from one place, or mend"
            " them; nothing was read."
        )


def _n_lines(path: Path) -> int:
    """Counts as the reader does: what stands behind the last newline is a line as well."""
    number = 0
    last = b"\n"
    for part in parts(path):
        number += part.count(b"\n")
        last = part[-1:]
    return number + (last != b"\n")


def _content(line: Line) -> str:
    return line.text.removesuffix("\n").removesuffix("\r")
