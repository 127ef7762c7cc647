"""The texts that a run samples as it goes: `samples.jsonl`, one JSON object a line."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from roots.runs.writing import write_atomically


class SampledTexts:
    """Appends to the file, reads it, and takes out what a resumed run makes again.

    A line that a crash cut short is no text: it is neither read nor kept.

    Args:
        file: The file, which may not be there yet.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Appends texts, each with its `step`."""
        with self.file.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

    def read(self) -> list[dict[str, Any]]:
        """Gives the texts in the order in which they came; none without a file.

        Raises:
            UnicodeDecodeError: The file is damaged.
        """
        if not self.file.is_file():
            return []
        return [row for _, row in _rows(self.file.read_text(encoding="utf-8"))]

    def drop(self, *, after: int) -> None:
        """Removes the texts of later steps, which are made again."""
        if not self.file.is_file():
            return
        text = self.file.read_text(encoding="utf-8", errors="replace")
        left = "".join(f"{line}\n" for line, row in _rows(text) if _step_of(row) <= after)
        if left != text:
            write_atomically(self.file, left)


def _rows(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in text.split("\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield line, row


def _step_of(row: dict[str, Any]) -> float:
    try:
        return float(row.get("step", 0))
    except (ValueError, TypeError):
        return math.inf
