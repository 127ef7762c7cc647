"""The figures of a classifier: what it confuses, each class's rates, how sure it may be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from roots.evaluation.canvas import (
    BLUE,
    COLOURS,
    GREY,
    HATCHES,
    labels_of,
    new_figure,
    plain,
    plain_bars,
    whole_numbers,
)

MOST_CLASSES = 30
"""More rows or columns cannot be read in a figure."""

RATES = ("precision", "recall", "f1")
_SHADES = ("#d9d9d9", BLUE, COLOURS[4])


def confusion_figure(names: Sequence[str], counts: Sequence[Sequence[int]]) -> Any:
    """Draws which labels (rows) were predicted as what (columns): counts, shaded by row."""
    words, places = labels_of(names), range(len(names))
    side, margin = max(0.42 * len(names), 2.4), 0.09 * max(map(len, words))
    figure = new_figure(side + margin + 1.0, side + margin + 0.8)
    axes = figure.subplots()
    shares = [[n / max(sum(row), 1) for n in row] for row in counts]
    axes.imshow(shares, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    for r, row in enumerate(counts):
        for c, n in enumerate(row):
            colour = "white" if shares[r][c] > 0.55 else "#222222"
            axes.text(c, r, _short(n), ha="center", va="center", fontsize=9, color=colour)
    slanted = len(names) > 6 or max(map(len, words)) > 5
    end = "right" if slanted else "center"
    axes.set_xticks(places, words, rotation=45 if slanted else 0, ha=end, rotation_mode="anchor")
    axes.set_yticks(places, words)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    return figure


def rates_figure(rates: Mapping[str, Mapping[str, float]]) -> Any:
    """Draws precision, recall and F1 of each class as bars; the worst F1 is on top.

    Args:
        rates: Of each class, by the names in `RATES`.
    """
    worst = sorted(rates, key=lambda name: rates[name].get("f1", 0.0))[:MOST_CLASSES]
    figure = new_figure(height=1.5 + 0.55 * len(worst))
    axes = figure.subplots()
    for number, rate in enumerate(RATES):
        places = [row + 0.26 * (number - 1) for row in range(len(worst))]
        values = [rates[name].get(rate, 0.0) for name in worst]
        axes.barh(
            places,
            values,
            height=0.24,
            label="F1" if rate == "f1" else rate,
            color=_SHADES[number],
            hatch=HATCHES[number] if number != 2 else "",
            edgecolor="#333333",
            linewidth=0.5,
        )
        for place, value in zip(places, values, strict=True):
            axes.text(value + 0.008, place, f"{value:.2f}", va="center", fontsize=7)
    words = dict(zip(rates, labels_of(list(rates)), strict=True))
    plain_bars(axes, [words[name] for name in worst], "share (0 to 1)")
    axes.set_xlim(0, 1.07)
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    return figure


def reliability_figure(diagram: Mapping[str, Sequence[Any]]) -> Any:
    """Draws how often predictions of each confidence are right, and how many there are.

    Source:
        Guo et al., arXiv:1706.04599, figure 4.
    """
    figure = new_figure(5.4, 5.6)
    right, many = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    edges, counts = diagram["edges"], diagram["count"]
    left, width = edges[:-1], edges[1] - edges[0]
    accuracy = [value or 0.0 for value in diagram["accuracy"]]
    style = {"width": width, "align": "edge", "edgecolor": "#333333", "linewidth": 0.5}
    right.bar(left, accuracy, color=BLUE, label="were right", **style)
    known = [(c, a) for c, a in zip(diagram["confidence"], diagram["accuracy"], strict=True)
             if c is not None and a is not None]  # fmt: skip
    means = [list(each) for each in zip(*known, strict=True)] or [[], []]
    right.plot(*means, "D", color="#222222", markersize=4, label="mean of the bin")
    right.plot([0, 1], [0, 1], "--", color=GREY, label="as sure as right")
    right.set_ylim(0, 1.02)
    right.set_xlim(0, 1)
    plain(right, "", "share that is right")
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    many.bar(left, counts, color="#d9d9d9", **style)
    whole_numbers(many.yaxis)
    plain(many, "confidence: probability of the predicted class", "rows")
    error = expected_error(diagram)
    right.set_title(f"expected calibration error {error:.3f}", loc="left", fontsize=10)
    return figure


def expected_error(diagram: Mapping[str, Sequence[Any]]) -> float:
    """Gives the mean gap between confidence and accuracy, weighted by rows (ECE, 0 to 1).

    It is NaN where the confidence of a bin with rows is not known, because a score was not finite.

    Source:
        Guo et al., arXiv:1706.04599, eq. 3.
    """
    bins = zip(diagram["count"], diagram["confidence"], diagram["accuracy"], strict=True)
    filled = [(n, sure, right) for n, sure, right in bins if n]
    if any(sure is None or right is None for _, sure, right in filled):
        return math.nan
    gaps = sum(n * abs(sure - right) for n, sure, right in filled)
    return float(gaps / max(sum(diagram["count"]), 1))


def _short(n: int) -> str:
    """Writes a count in at most four characters, and nothing for none."""
    if not n:
        return ""
    for factor, unit in ((1e6, "M"), (1e3, "k")):
        if n >= 10 * factor:
            return f"{n / factor:.0f}{unit}"
    return str(n)
