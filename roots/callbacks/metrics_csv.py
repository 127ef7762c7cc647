"""Metrics as a CSV file in the run directory."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from roots.runs import read_metrics, write_atomically


class MetricsCSV(Logger):
    """Writes one row per step, each as soon as it is known.

    What is reported twice in one step shares a row. A new name becomes a new column of the whole
    file. Numbers are written in full, so that two runs can be compared bit by bit.

    Args:
        path: The file; when it is there, its rows go on.
        from_step: Rows of later steps are dropped: a resumed run makes them again.
    """

    def __init__(self, *, path: Path, from_step: int = 0) -> None:
        super().__init__()
        self.path = path
        self.from_step = from_step
        self._columns = ["step"]
        self._last: dict[str, str] = {}
        self._last_start = 0
        if path.exists():
            self._take_over()

    @property
    def name(self) -> str:
        """The logger's name."""
        return "csv"

    @property
    def version(self) -> str:
        """The run."""
        return self.path.parent.name

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Does nothing: the configuration has a file of its own."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Adds metrics to the row of a step."""
        row = {"step": str(step), **{k: repr(float(v)) for k, v in metrics.items()}}
        new = [name for name in row if name not in self._columns]
        if new:
            self._columns += new
            self._rewrite()
        if self._last.get("step") == row["step"]:
            row = {**self._last, **row}
        else:
            self._last_start = self.path.stat().st_size
        self._last = row
        with self.path.open("r+b") as file:
            file.seek(self._last_start)
            file.write(self._line(row))
            file.truncate()
            file.flush()
            os.fsync(file.fileno())

    def _take_over(self) -> None:
        rows = read_metrics(self.path)
        kept = [row for row in rows if int(row["step"]) <= self.from_step]
        self._columns = list(rows[0]) if rows else ["step"]
        self._write(kept)

    def _rewrite(self) -> None:
        rows = read_metrics(self.path) if self.path.exists() else []
        self._write(rows)

    def _write(self, rows: list[dict[str, str]]) -> None:
        head = ",".join(self._columns) + "\n"
        write_atomically(self.path, head + "".join(self._line(row).decode() for row in rows))
        self._last = rows[-1] if rows else {}
        last_line = self._line(rows[-1]) if rows else b""
        self._last_start = self.path.stat().st_size - len(last_line)

    def _line(self, row: dict[str, str]) -> bytes:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow([row.get(c, "") for c in self._columns])
        return text.getvalue().encode()
