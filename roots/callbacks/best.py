"""Which checkpoints are the best by the metric that is monitored, and whether there is one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from roots.errors import ConfigError, nearest
from roots.runs import Checkpoint
from roots.runs.checkpoint import rank


@dataclass(frozen=True)
class Best:
    """The best checkpoints of a run.

    Args:
        monitor: The validation metric that says which they are.
        mode: Whether the best has the `min` or the `max` of it.
        keep: How many are kept.

    Raises:
        ConfigError: `mode` is neither, or `monitor` is no metric of a validation.
    """

    monitor: str
    mode: str
    keep: int

    def __post_init__(self) -> None:
        if self.mode not in ("min", "max"):
            raise ConfigError(
                f"monitor_mode={self.mode!r} is neither min nor max. Set one of them."
            )
        if not self.monitor.startswith("val/"):
            such = f"val/{self.monitor.rpartition('/')[2] or 'loss'}"
            raise ConfigError(
                f"monitor={self.monitor!r} is no metric of a validation: their names begin with"
                f" val/. Set trainer.monitor to such a one, as {such}."
            )

    def rank(self, value: float | None) -> float:
        """Says where a value stands, the smaller the better; last what is no number."""
        return rank(value, self.mode)

    def is_among(self, value: float | None, found: Sequence[Checkpoint]) -> bool:
        """Tells whether a checkpoint with this value would be kept beside those there are."""
        if not self.keep:
            return False
        kept = self.ranked(found)[: self.keep]
        full = len(kept) == self.keep
        worst = self.rank(kept[-1].metrics[self.monitor]) if full else math.inf
        return self.rank(value) < worst

    def superfluous(self, found: Sequence[Checkpoint]) -> list[Checkpoint]:
        """Gives those that are neither the newest, which is the last, nor among the best."""
        best = self.ranked(found)[: self.keep]
        return [c for c in found[:-1] if c not in best]

    def ranked(self, found: Sequence[Checkpoint]) -> list[Checkpoint]:
        """Gives those that have a number of the metric, the best first, of equals the oldest."""
        measured = [c for c in found if self.rank(c.metrics.get(self.monitor)) < math.inf]
        return sorted(measured, key=lambda c: self.rank(c.metrics[self.monitor]))

    def why_unknown(self, trainer: Any) -> str:
        """Says that a validation did not report the metric; nothing where it did, or will later."""
        there = sorted(name for name in trainer.latest if name.startswith("val/"))
        later = {name for c in trainer.callbacks for name in getattr(c, "reports_later", ())}
        if not there or self.monitor in (*there, *later):
            return ""
        return (
            f"trainer.monitor={self.monitor} is nothing that the validation reports"
            f"{nearest(self.monitor, there)}, so no checkpoint can be the best by it. It reports"
            f" {', '.join(there)}."
        )
