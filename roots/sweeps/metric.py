"""The metric of a sweep: what trials are judged by, and when a value is good enough."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from roots.errors import ConfigError, nearest
from roots.sweeps.reading import read_number


@dataclass(frozen=True)
class Metric:
    """What a trial is judged by.

    Args:
        name: As it is in metrics.csv.
        maximize: Whether more is better.
        target: No new trial starts once one has reached it; None goes on.
    """

    name: str
    maximize: bool = False
    target: float | None = None

    def cost(self, value: float) -> float:
        """Turns a value around where more is better, so that the smallest cost is best."""
        value = -value if self.maximize else value
        return math.inf if math.isnan(value) else value

    def is_reached(self, value: float) -> bool:
        """Tells whether the target is."""
        return self.target is not None and self.cost(value) <= self.cost(self.target)


def read_metric(spec: Any, base: Mapping[str, Any]) -> Metric:
    """Reads `metric`; without it the metric is the one that the run itself watches.

    Args:
        spec: What the sweep file says; None where it says nothing.
        base: The merged run files.

    Raises:
        ConfigError: It says something impossible.
    """
    if spec is None:
        trainer = base.get("trainer") or {}
        if not isinstance(trainer, Mapping):
            raise ConfigError(
                f"trainer={trainer!r}: the run file's trainer must be `key: value` lines, such as"
                " `trainer: {max_steps: 600}`. Correct it there."
            )
        mode = trainer.get("monitor_mode", "min")
        return Metric(trainer.get("monitor", "val/loss"), maximize=mode == "max")
    if not isinstance(spec, Mapping) or not isinstance(spec.get("name"), str):
        raise ConfigError(f"metric={spec!r} has no name. Write `metric: {{name: val/loss}}`.")
    for key in spec:
        if key not in ("name", "goal", "target"):
            raise ConfigError(
                f"There is no metric.{key}{nearest(str(key), ('name', 'goal', 'target'))}. Its keys"
                " are name, goal and target."
            )
    goal = spec.get("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        raise ConfigError(f"metric.goal={goal!r}: set it to minimize or maximize.")
    given = spec.get("target")
    target = None if given is None else float(read_number("metric.target", given))
    return Metric(spec["name"], goal == "maximize", target)
