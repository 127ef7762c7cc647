"""How far a run was, in tokens or in time, at steps between its reports."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping


def at_steps(known: Mapping[float, float], steps: Iterable[float]) -> dict[float, float]:
    """Gives how far a run was at each step: where it did not report, on a line between reports.

    The line begins with 0 at step 0, and goes on after the last report as before it.

    Args:
        known: By step, what was reported.
        steps: The steps that are asked for.
    """
    points = sorted({0: 0.0, **known}.items())
    if len(points) < 2:
        return {}
    return {step: known[step] if step in known else _on_line(points, step) for step in steps}


def _on_line(points: list[tuple[float, float]], step: float) -> float:
    place = min(max(bisect_right(points, (step, math.inf)), 1), len(points) - 1)
    (before, low), (after, high) = points[place - 1 : place + 1]
    return low + (high - low) * (step - before) / (after - before)
