"""The record of one trial: what it tries, how it is doing, and what came out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

FINISHED, PRUNED, FAILED, RUNNING = "finished", "pruned", "failed", "running"


@dataclass
class Trial:
    """One trial, as the study has it.

    Args:
        number: From 0, in the order of their starts.
        state: `finished`, `pruned`, `failed` or `running`.
        values: The value of each parameter.
        value: Its result; None where it has none.
        curve: What the metric was at a step, or after each fit.
        notes: What was written down of it: where it ran, how long.
    """

    number: int
    state: str
    values: dict[str, Any]
    value: float | None = None
    curve: dict[int, float] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """How people call it."""
        return f"trial {self.number + 1}"
