"""What is drawn of a sweep: its history, its curves, and which settings make the difference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from roots.evaluation.canvas import BLUE, GREY, LONGEST_LABEL, ORANGE, labels_of, new_figure, plain
from roots.sweeps.curves import Curve
from roots.sweeps.definition import Definition
from roots.sweeps.parameters import Parameter, label
from roots.sweeps.trial import FINISHED, PRUNED, Trial
from roots.sweeps.words import number_text, ranked, short_names, value_text

_PAPER = {"facecolor": "white", "alpha": 0.8, "linewidth": 0.0, "pad": 1.0}
"""Behind a number that lines may cross."""
MOST_MARKS = 40
"""A line of more points is drawn without marks."""


def draw_history(definition: Definition, trials: Sequence[Trial]) -> Any:
    """Draws each trial's value in the order of their starts, and the best so far."""
    figure = new_figure(8.0, 3.6)
    axes = figure.subplots()
    done = [t for t in trials if t.state == FINISHED and t.value is not None]
    early = [t for t in trials if t.state == PRUNED and t.value is not None]
    axes.scatter(_numbers(done), [t.value for t in done], color=BLUE, label="finished", zorder=3)
    if early:
        values = [t.value for t in early]
        axes.scatter(_numbers(early), values, color=GREY, marker="x", label="ended early")
    best, so_far = math.inf, []
    for trial in done:
        best = min(best, definition.metric.cost(trial.value or 0.0))
        so_far.append(-best if definition.metric.maximize else best)
    axes.step(_numbers(done), so_far, where="post", color=ORANGE, label="best so far")
    plain(axes, "trial", definition.metric.name)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize=9)
    return figure


def draw_curves(
    definition: Definition, trials: Sequence[Trial], curves: Mapping[int, Curve]
) -> Any:
    """Draws what the metric was during every trial; the best stands out.

    Where a trial has several fits, its line is their mean, and a band reaches from the smallest to
    the largest of them.
    """
    figure = new_figure(8.0, 4.2)
    axes = figure.subplots()
    best = ranked(trials, definition.metric)[:1]
    for trial in sorted(trials, key=best.__contains__):  # the best is drawn over the others
        if trial.number in curves:
            faint = min(0.12, 0.8 / len(curves))  # many bands side by side are fog
            shade = 0.35 if trial in best else faint
            _curve(axes, trial, curves[trial.number], stands_out=trial in best, shade=shade)
    several = f", mean over {definition.repeats}" if definition.repeats else ""
    name = next((curve.name for curve in curves.values()), definition.metric.name)
    plain(axes, "optimizer steps", f"{name}{several}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        once = list(dict(zip(labels, handles, strict=True)).items())[::-1]
        axes.legend([h for _, h in once], [name for name, _ in once], frameon=False, fontsize=9)
    return figure


def _curve(axes: Any, trial: Trial, curve: Curve, *, stands_out: bool, shade: float) -> None:
    finished = trial.state == FINISHED
    colour = ORANGE if stands_out else BLUE if finished else GREY
    words = "ended early" if trial.state == PRUNED else trial.state
    axes.plot(
        curve.steps,
        curve.mean,
        color=colour,
        linestyle="-" if finished else ":",
        linewidth=2.4 if stands_out else 0.9,
        marker="o" if len(curve.steps) <= MOST_MARKS else "",
        markersize=5 if stands_out else 2.5,
        alpha=1.0 if stands_out else 0.7,
        label=f"{trial.label}, the best" if stands_out else words,
    )
    if curve.n_fits > 1:
        axes.fill_between(
            curve.steps,
            curve.low,
            curve.high,
            color=colour,
            alpha=shade,
            linewidth=0.0,
            label="smallest to largest of them",
        )


def draw_importances(importances: Mapping[str, float]) -> Any:
    """Draws the share of the results' variance that each parameter explains."""
    shorts = short_names(list(importances))
    figure = new_figure(8.0, 0.9 + 0.4 * len(importances))
    axes = figure.subplots()
    names = labels_of([shorts[name] for name in importances])[::-1]
    shares = list(importances.values())[::-1]
    axes.barh(range(len(names)), shares, tick_label=names, color=BLUE, height=0.6)
    for place, share in enumerate(shares):
        axes.text(share + 0.01, place, f"{share:.2f}", va="center", fontsize=9)
    axes.set_xlim(0, 1.08)
    plain(axes, "share of the variance explained", "")
    return figure


def draw_parallel(definition: Definition, trials: Sequence[Trial]) -> Any:
    """Draws each finished trial as a line over its settings to its value; darker is better."""
    order = ranked(trials, definition.metric)[::-1]
    parameters = [p for p in definition.searched if all(p.name in t.values for t in order)]
    shorts = short_names([parameter.name for parameter in definition.searched])
    figure = new_figure(max(6.0, 2.0 * (len(parameters) + 1)), 4.2)
    axes = figure.subplots()
    heights = [_heights(parameter, order) for parameter in parameters]
    values = [trial.value or 0.0 for trial in order]
    heights.append([_share(value, min(values), max(values)) for value in values])
    for place, trial_heights in enumerate(zip(*heights, strict=True)):
        rank = (place + 1) / len(order)
        is_best = place == len(order) - 1
        axes.plot(
            range(len(heights)),
            trial_heights,
            color=ORANGE if is_best else BLUE,
            alpha=1.0 if is_best else 0.15 + 0.6 * rank,
            linewidth=2.2 if is_best else 1.1,
        )
    for place, parameter in enumerate(parameters):
        _mark(axes, place, parameter, order)
    for height, value in ((0.0, min(values)), (1.0, max(values))):
        axes.text(len(parameters) + 0.04, height, number_text(value), fontsize=8, va="center")
    _dress(axes, labels_of([*(shorts[p.name] for p in parameters), definition.metric.name]))
    return figure


def _dress(axes: Any, names: Sequence[str]) -> None:
    plain(axes, "", "")
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_xlim(-0.2, len(names) - 0.6)
    axes.set_ylim(-0.08, 1.08)
    for place in range(len(names)):
        axes.axvline(place, color=GREY, linewidth=0.8, zorder=1)


def _heights(parameter: Parameter, trials: Sequence[Trial]) -> list[float]:
    """Where a parameter's values stand between the lowest, 0, and the highest, 1."""
    values = [trial.values[parameter.name] for trial in trials]
    if parameter.choices:
        last = max(len(parameter.choices) - 1, 1)
        return [parameter.labels.index(label(value)) / last for value in values]
    numbers = [math.log(v) if parameter.scale == "log" and v > 0 else float(v) for v in values]
    return [_share(number, min(numbers), max(numbers)) for number in numbers]


def _mark(axes: Any, place: int, parameter: Parameter, trials: Sequence[Trial]) -> None:
    """Writes values beside a parameter's line: its choices, or the ends."""
    heights = _heights(parameter, trials)
    told = {h: trial.values[parameter.name] for h, trial in zip(heights, trials, strict=True)}
    shown = told if parameter.choices else {h: told[h] for h in (min(told), max(told))}
    for height, words in zip(
        shown, _labels([value_text(parameter, v) for v in shown.values()]), strict=True
    ):
        axes.text(place + 0.04, height, words, fontsize=8, va="center", bbox=_PAPER, zorder=4)


def _labels(values: Sequence[str]) -> list[str]:
    """Shortens values to their beginnings, or to their ends where the beginnings are alike."""
    begins = labels_of(values)
    if len({*begins}) == len({*values}):
        return begins
    ends = [v if len(v) <= LONGEST_LABEL else f"…{v[1 - LONGEST_LABEL :]}" for v in values]
    return labels_of(ends)


def _share(value: float, low: float, high: float) -> float:
    return 0.5 if high == low else (value - low) / (high - low)


def _numbers(trials: Sequence[Trial]) -> list[int]:
    return [trial.number + 1 for trial in trials]
