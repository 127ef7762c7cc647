"""The figures of a run: loss, learning rate, gradient norm, throughput, validations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from roots.evaluation.canvas import (
    BLUE,
    COLOURS,
    GREY,
    ORANGE,
    STYLES,
    new_figure,
    plain,
)
from roots.evaluation.run_record import Curve, RunRecord

FRACTIONS = ("accuracy", "f1_micro", "f1_macro", "mcc", "exact_match", "f1", "subset_accuracy")
"""What is measured as a share, by name, in the order in which it is shown; MCC is -1 to 1."""


_UNITS: dict[str, list[tuple[str, float]]] = {
    "tokens": [
        ("tokens", 1),
        ("thousand tokens", 1e3),
        ("million tokens", 1e6),
        ("billion tokens", 1e9),
    ],
    "seconds": [
        ("seconds of training", 1),
        ("minutes of training", 60),
        ("hours of training", 3600),
    ],
}


def loss_figure(record: RunRecord) -> Any:
    """Draws loss, learning rate and gradient norm over the steps; None when nothing was logged."""
    if not record.curve("train/loss")[0]:
        return None
    figure = new_figure(height=6.0)
    loss, rate, norm = figure.subplots(3, 1, sharex=True, height_ratios=[4, 1, 1])
    _draw_loss(loss, record, "step")
    _draw_small(rate, record.curve("optim/learning_rate"), "learning rate")
    rate.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    _draw_small(norm, record.curve("optim/grad_norm"), "gradient norm", log=True)
    norm.set_xlabel("optimizer steps")
    loss.set_title(_title(record), loc="left", fontsize=10, parse_math=False)
    return figure


def progress_figure(record: RunRecord) -> Any:
    """Draws the loss over tokens and over training time; None when they are not known."""
    if not record.curve("train/loss", "tokens")[0]:
        return None
    figure = new_figure(height=3.4)
    by_tokens, by_time = figure.subplots(1, 2, sharey=True)
    for axes, over in ((by_tokens, "tokens"), (by_time, "seconds")):
        _draw_loss(axes, record, over)
    by_time.set_ylabel("")
    by_time.get_legend().remove()
    return figure


def throughput_figure(record: RunRecord) -> Any:
    """Draws tokens per second over the steps; None when they are not known."""
    steps, rates = record.curve("train/tokens_per_second")
    if not steps:
        return None
    figure = new_figure(height=2.8)
    axes = figure.subplots()
    axes.plot(steps, rates, color=BLUE, linewidth=1.2, marker=_dots(steps), label="since the last")
    median = record.last("train/tokens_per_second_median")
    if median is not None:
        axes.axhline(median, color=ORANGE, linestyle="--", label=f"median {median:,.0f}")
    axes.set_ylim(0, 1.12 * max(*rates, median or 0.0))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    plain(axes, "optimizer steps", "tokens per second")
    _legend(axes)
    return figure


def measured_figure(record: RunRecord) -> Any:
    """Draws the shares that validations measured over the steps; None where there are none."""
    curves = {name: record.curve(f"val/{name}") for name in FRACTIONS}
    shown = [(name, curve) for name, curve in curves.items() if curve[0]]
    if not shown:
        return None
    figure = new_figure(height=3.2)
    axes = figure.subplots()
    for number, (name, (steps, values)) in enumerate(shown):
        colour, style = COLOURS[number % len(COLOURS)], STYLES[number % len(STYLES)]
        label = f"{name} {values[-1]:.3f}"
        axes.plot(steps, values, style, color=colour, marker="o", markersize=3.5, label=label)
    lowest = min(min(values) for _, (_, values) in shown)
    axes.set_ylim(min(lowest, 0.0) - 0.02, 1.02)
    plain(axes, "optimizer steps", "on validation data")
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _draw_loss(axes: Any, record: RunRecord, over: str) -> None:
    steps, losses = record.curve("train/loss", over)
    smooth, val = smoothed(losses), record.curve("val/loss", over)
    low, high = heights([*losses, *smooth], whole=val[1])
    raw = f"each report, up to {max(losses):.3g}" if max(losses) > high else ""
    axes.plot(steps, losses, color=BLUE, alpha=0.4, linewidth=0.8, label=raw)
    axes.plot(
        steps, smooth, color=BLUE, linewidth=1.6, marker=_dots(steps), label="training (smoothed)"
    )
    if val[0]:
        words = f"validation (last {val[1][-1]:.4g})"
        axes.plot(*val, color=ORANGE, marker="o", markersize=4, linestyle="--", label=words)
    axes.set_ylim(low, high)
    plain(axes, "", f"loss ({record.loss_unit})")
    _label_time(axes, over)
    _legend(axes)


def heights(values: list[float], whole: Sequence[float] = ()) -> tuple[float, float]:
    """Gives the ends of an axis on which a curve can be read.

    A few high values (the first steps, a spike) that would leave the others less than half of the
    axis lie outside.

    Args:
        values: Of the curve; at least one.
        whole: Those of another one, of which none lies outside.
    """
    ranked = sorted(values)
    low, high = ranked[0], ranked[-1]
    usual = ranked[int(0.9 * (len(ranked) - 1))]
    if high - low > 2 * (usual - low) > 0:
        high = low + 1.25 * (usual - low)
    low, high = min([low, *whole]), max([high, *whole])
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def _draw_small(axes: Any, curve: Curve, name: str, *, log: bool = False) -> None:
    axes.plot(*curve, color=GREY, linewidth=1.2, marker=_dots(curve[0]))
    if log and curve[1] and min(curve[1]) > 0 and max(curve[1]) > 20 * min(curve[1]):
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter("")  # between two powers there is no room for words
    plain(axes, "", name)
    axes.yaxis.label.set_fontsize(8)
    axes.tick_params(axis="y", labelsize=8)


def _label_time(axes: Any, over: str) -> None:
    """Says what the x axis counts, in a unit that fits."""
    if over == "step":
        return
    last = max((line.get_xdata()[-1] for line in axes.get_lines()), default=0.0)
    words, factor = _unit(last, over)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x / factor:g}")
    axes.xaxis.set_major_locator(_round_places(last, factor))
    axes.set_xlabel(words)


def _round_places(last: float, factor: float) -> Any:
    from matplotlib.ticker import FixedLocator, MaxNLocator

    places = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(0, last / factor)
    return FixedLocator([place * factor for place in places if place * factor <= 1.02 * last])


def _unit(last: float, over: str) -> tuple[str, float]:
    fitting = [unit for unit in _UNITS[over] if last >= 3 * unit[1]]
    return fitting[-1] if fitting else _UNITS[over][0]


def _dots(places: list[float]) -> str:
    """Marks the points of a curve that has too few to be seen as a line."""
    return "o" if len(places) < 3 else ""


def _legend(axes: Any) -> None:
    axes.legend(frameon=False, fontsize=9)


def _title(record: RunRecord) -> str:
    bits = record.last("val/bits_per_byte")
    tail = f" · {bits:.3f} bits per byte on validation text" if bits is not None else ""
    return f"{record.name}{tail}"


def smoothed(values: list[float]) -> list[float]:
    """Gives an exponential moving average over about a thirtieth of the values, at least two.

    It has no pull towards its start value. What is not finite is left out of the mean, and is NaN.

    Source:
        Kingma & Ba, arXiv:1412.6980, section 3 (bias correction).
    """
    weight = 1 - 1 / max(len(values) / 30, 2)
    result, mean, scale = [], 0.0, 0.0
    for value in values:
        if not math.isfinite(value):
            result.append(math.nan)
            continue
        mean = weight * mean + (1 - weight) * value
        scale = weight * scale + (1 - weight)
        result.append(mean / scale)
    return result
