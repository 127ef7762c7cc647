"""The curves of runs over steps, tokens and time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from roots.evaluation.along import at_steps
from roots.evaluation.canvas import COLOURS, STYLES, labels_of, new_figure, plain
from roots.evaluation.comparison.comparing import Comparison
from roots.evaluation.comparison.groups import Group
from roots.evaluation.comparison.reading import SEEN, ComparedRun
from roots.evaluation.figures import smoothed

TRAINED = "train/loss"
WIDTH, LONGEST, MARK = 12.0, 95, 8
"""The figure in inches, the letters of a line in it, and the line's own mark in letters."""
Axis = tuple[str, Callable[[ComparedRun], dict[float, float]]]


def _steps(run: ComparedRun) -> dict[float, float]:
    return {step: float(step) for step in run.metrics.rows}


def _tokens(run: ComparedRun) -> dict[float, float]:
    rows = run.metrics.rows
    return at_steps({step: row[SEEN] for step, row in rows.items() if SEEN in row}, rows)


def _seconds(run: ComparedRun) -> dict[float, float]:
    return at_steps(run.training_seconds(), run.metrics.rows)


AXES: tuple[Axis, ...] = (
    ("optimizer steps", _steps),
    ("tokens", _tokens),
    ("seconds of training", _seconds),
)
"""What stands along the x axes, and how far each step of a run was by it."""


def draw(comparison: Comparison) -> Any:
    """Draws the metric, and the training loss above it, over steps, tokens and training time.

    Each run is a thin line; a group of several has its mean as a thick one, over the steps that all
    of those that count measured. Groups that cannot be held to the first are left out.
    """
    groups = [g for g in comparison.groups if g.letter not in comparison.apart]
    rows = [name for name in (TRAINED, comparison.metric) if _is_measured(groups, name)]
    rows = list(dict.fromkeys(rows)) or [comparison.metric]
    figure = new_figure(WIDTH, 1.2 + 3.2 * len(rows))
    grid = figure.subplots(len(rows), len(AXES), squeeze=False, sharey="row")
    for line, name in zip(grid, rows, strict=True):
        for axes, (label, along) in zip(line, AXES, strict=True):
            for number, group in enumerate(groups):
                _draw_group(axes, group, name, along, number)
            plain(axes, label, _worded(name) if axes is line[0] else "")
            _space_numbers(axes)
    handles, labels = grid[0][0].get_legend_handles_labels()
    labels = _drawable(labels)
    columns = _columns(labels)
    figure.set_figheight(1.0 + 0.2 * math.ceil(len(labels) / columns) + 3.2 * len(rows))
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, frameon=False)
    return figure


def _drawable(names: Sequence[str]) -> list[str]:
    """Makes names that fit in one line; of one that the font lacks only its letter stays."""
    shorts = labels_of(names, longest=LONGEST)
    pairs = zip(shorts, names, strict=True)
    return [n.partition(":")[0] if short.startswith("#") else short for short, n in pairs]


def _columns(labels: Sequence[str]) -> int:
    """Puts as many names side by side as the figure is wide enough for, 3 at most."""
    widest = max(map(len, labels), default=0) + MARK
    return max(min(len(labels), 3, (LONGEST + MARK) // widest), 1)


def _draw_group(axes: Any, group: Group, name: str, along: Any, number: int) -> None:
    colour, style = COLOURS[number % len(COLOURS)], STYLES[number // len(COLOURS) % len(STYLES)]
    look = {"color": colour, "linestyle": style}
    several = len(group.counted) > 1
    thin = {"alpha": 0.35, "linewidth": 0.8} if several else {"linewidth": 1.6}
    for number_within, run in enumerate(group.runs):
        label = None if several or number_within else group.name
        _draw_curve(axes, list(_curve(run, name, along).values()), label=label, **look, **thin)
    if several:
        curves = [_curve(run, name, along) for run in group.counted]
        shared = sorted(set.intersection(*(set(curve) for curve in curves)))
        mean = [_mean([curve[step] for curve in curves]) for step in shared]
        _draw_curve(axes, mean, label=f"{group.name}, mean", linewidth=1.8, **look)


def _draw_curve(axes: Any, points: list[tuple[float, float]], **look: Any) -> None:
    mark = {"marker": "o", "markersize": 3} if len(points) == 1 else {}
    axes.plot([x for x, _ in points], [y for _, y in points], **look, **mark)


def _curve(run: ComparedRun, name: str, along: Any) -> dict[int, tuple[float, float]]:
    """Gives the points of a curve by step: how far it was, and the value there."""
    far = along(run)
    steps, values = run.metrics.series(name)
    values = smoothed(values) if name == TRAINED else values
    return {s: (far[s], v) for s, v in zip(steps, values, strict=True) if s in far}


def _mean(points: list[tuple[float, float]]) -> tuple[float, float]:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def _space_numbers(axes: Any) -> None:
    """Writes few numbers below the axis, and large ones by their thousands."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(EngFormatter())


def _is_measured(groups: list[Group], name: str) -> bool:
    return any(name in run.metrics.names for group in groups for run in group.runs)


def _worded(name: str) -> str:
    words = {TRAINED: "training loss (smoothed)", "val/loss": "validation loss"}
    return words.get(name, name)
