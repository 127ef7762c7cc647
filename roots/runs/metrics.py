"""The metrics of a run: rows of text as they stand in the file, or numbers that were checked."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from math import isnan
from pathlib import Path

from roots.errors import DataError


@dataclass(frozen=True)
class Metrics:
    """The numbers of a metrics file.

    Args:
        names: The columns beside `step`, in the file's order.
        rows: By step, the metrics that were reported there.
    """

    names: tuple[str, ...]
    rows: dict[int, dict[str, float]]

    @property
    def last_step(self) -> int:
        """The last step that was reported; 0 where none was."""
        return max(self.rows, default=0)

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Gives the steps at which a metric was reported, and its values there."""
        found = [(step, row[name]) for step, row in self.rows.items() if name in row]
        return [step for step, _ in found], [value for _, value in found]

    def best(self, name: str, mode: str) -> tuple[int, float] | None:
        """Gives the step and the value of a metric where it was best; None when it never was."""
        sign = 1 if mode == "min" else -1
        found = [(s, v) for s, v in zip(*self.series(name), strict=True) if not isnan(v)]
        return min(found, key=lambda point: sign * point[1]) if found else None


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Reads the rows of a metrics file; a last row that a crash cut short is left out.

    Raises:
        DataError: The file cannot be read, or two of its columns have one name.
    """
    lines = csv.DictReader(io.StringIO(_whole_lines(path)))
    _check_heading(path, ["step"] if lines.fieldnames is None else [*lines.fieldnames])
    return list(lines)


def load_metrics(path: Path) -> Metrics:
    """Reads a metrics file and checks every row; a last row that a crash cut short is left out.

    A file that is not there has no rows: nothing was reported yet.

    Raises:
        DataError: A row or the heading is not what a run writes.
    """
    if not path.is_file():
        return Metrics((), {})
    lines = csv.reader(io.StringIO(_whole_lines(path)))
    names = next(lines, ["step"])
    _check_heading(path, names)
    rows: dict[int, dict[str, float]] = {}
    for cells in lines:
        step, row = _checked(path, lines.line_num, names, cells)
        if rows and step <= next(reversed(rows)):
            raise _garbled(path, lines.line_num, f"step {step} follows step {next(reversed(rows))}")
        rows[step] = row
    return Metrics(tuple(names[1:]), rows)


def _check_heading(path: Path, names: list[str]) -> None:
    if names[:1] != ["step"] or len({*names}) < len(names):
        twice = "".join(f", with {n!r} twice" for n in sorted({*names}) if names.count(n) > 1)
        raise DataError(
            f"{path} does not begin with a heading of different names after `step`, but with"
            f" {','.join(names)[:60]!r}{twice[:60]}. Bring the file back from a copy; the run's"
            " checkpoints are not touched by it."
        )


def _checked(
    path: Path, line: int, names: list[str], cells: list[str]
) -> tuple[int, dict[str, float]]:
    if len(cells) != len(names):
        raise _garbled(path, line, f"it has {len(cells)} values for {len(names)} columns")
    try:
        row = {n: float(c) for n, c in zip(names[1:], cells[1:], strict=True) if c}
        return int(cells[0]), row
    except ValueError as error:
        raise _garbled(path, line, str(error)) from error


def _garbled(path: Path, line: int, what: str) -> DataError:
    return DataError(
        f"Line {line} of {path} is garbled: {what}. Delete that line (the others stand for"
        " themselves), or bring the file back from a copy."
    )


def _whole_lines(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is no text in UTF-8 ({error.reason} at byte {error.start:,}). Bring the file"
            " back from a copy; the run's checkpoints are not touched by it."
        ) from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}. Make it a file that you may read; the run's"
            " checkpoints are not touched by it."
        ) from error
    return text[: text.rfind("\n") + 1]
