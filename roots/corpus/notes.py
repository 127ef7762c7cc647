"""A file of notes: plain values with their sum, there whole or not at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def write_notes(path: Path, content: Any) -> None:
    """Writes plain values in place of what the file said before, in one rename."""
    notes = json.dumps(content)
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(f"{_sum_of(notes)}\n{notes}", encoding="utf-8", newline="")
    temporary.replace(path)


def read_notes(path: Path) -> dict[str, Any]:
    """Reads what `write_notes` wrote.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged.
    """
    with path.open(encoding="utf-8", newline="") as file:
        said, notes = file.readline().strip(), file.read()
    if said != _sum_of(notes):
        raise ValueError(f"{path} is damaged: its sha256 is {_sum_of(notes)}, expected {said!r}")
    content: dict[str, Any] = json.loads(notes)
    return content


def _sum_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
