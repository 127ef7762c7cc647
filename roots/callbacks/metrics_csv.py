"""Metrics as a CSV file in the run directory."""

from __future__ import annotations

import csv
import io
import os
from bisect import bisect_left
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from roots.runs import load_metrics, read_metrics, write_atomically

Row = dict[str, str]
TAIL = 2
"""Rows at the end of the file that are written in place; one for an older step costs the file."""


class MetricsCSV(Logger):
    """Writes one row per step, each as soon as it is known.

    What is reported twice in one step shares a row, and what comes late, as a callback's numbers of
    a step before, goes into the row of its step. A new name becomes a new column of the whole file.
    Numbers are written in full, so that two runs can be compared bit by bit.

    Args:
        path: The file; when it is there, its rows go on. It is left as it is until the first row
            comes, or `open` is called.
        from_step: Rows of later steps are dropped: a resumed run makes them again.

    Raises:
        DataError: The file is not what a run writes, and would be written anew from what was
            misread.
    """

    def __init__(self, *, path: Path, from_step: int = 0) -> None:
        super().__init__()
        load_metrics(path)
        self.path = path
        self.from_step = from_step
        self._columns = ["step"]
        self._tail: list[Row] = []
        self._tail_start = 0
        self._is_open = False

    @property
    def name(self) -> str:
        """The logger's name."""
        return "csv"

    @property
    def version(self) -> str:
        """The run."""
        return self.path.parent.name

    @property
    def save_dir(self) -> str:
        """The run's directory, which is Lightning's `trainer.log_dir` then."""
        return str(self.path.parent)

    @property
    def experiment(self) -> MetricsCSV:
        """What keeps the numbers: the logger itself, where nothing else tracks the run."""
        return self

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Does nothing: the configuration has a file of its own."""

    @rank_zero_only
    def open(self) -> None:
        """Takes over the rows that are there."""
        if not self._is_open and self.path.exists():
            rows = read_metrics(self.path)
            self._columns = list(rows[0]) if rows else ["step"]
            self._write([row for row in rows if int(row["step"]) <= self.from_step])
        self._is_open = True

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Adds metrics to the row of a step; without one, to the newest row."""
        self.open()
        if step is None:
            step = int(self._tail[-1]["step"]) if self._tail else self.from_step
        row = {**{k: repr(float(v)) for k, v in metrics.items()}, "step": str(step)}
        new = [name for name in row if name not in self._columns]
        if new:
            self._columns += new
            self._write(read_metrics(self.path) if self.path.exists() else [])
        if self._tail and step < int(self._tail[0]["step"]):
            rows = read_metrics(self.path)
            _put(rows, row)
            self._write(rows)
        else:
            self._write_tail(_put(self._tail, row))

    def _write_tail(self, first: int) -> None:
        """Writes the rows at the end anew, from the first that has changed."""
        lines = [self._line(row) for row in self._tail]
        with self.path.open("r+b") as file:
            file.seek(self._tail_start + sum(map(len, lines[:first])))
            file.write(b"".join(lines[first:]))
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        self._tail_start += sum(map(len, lines[:-TAIL]))
        self._tail = self._tail[-TAIL:]

    def _write(self, rows: list[Row]) -> None:
        lines = [_line(self._columns), *map(self._line, rows)]
        write_atomically(self.path, b"".join(lines).decode())
        self._tail = rows[-TAIL:]
        self._tail_start = self.path.stat().st_size - sum(len(self._line(r)) for r in self._tail)

    def _line(self, row: Row) -> bytes:
        return _line([row.get(column, "") for column in self._columns])


def _line(cells: list[str]) -> bytes:
    """Writes a line; a name with a comma or a quotation mark, as a label may have, is quoted."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def _put(rows: list[Row], row: Row) -> int:
    """Puts a row among those in the order of their steps, or into that of its step; says where."""
    place = bisect_left(rows, int(row["step"]), key=lambda each: int(each["step"]))
    if place < len(rows) and rows[place]["step"] == row["step"]:
        rows[place] = {**rows[place], **row}
    else:
        rows.insert(place, row)
    return place
