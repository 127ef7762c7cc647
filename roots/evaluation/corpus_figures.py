"""The figures of a data card: what each stage kept, why it dropped, how long the documents are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from roots.evaluation.canvas import BLUE, labels_of, new_figure, plain, plain_bars, whole_numbers

MOST_BARS = 24
MOST_REASONS = 4
_SHADES = ("#d1762c", "#9bc48f", "#48366e", "#8a8a8a")
_HATCHES = ("////", "....", "", "xxxx")


def stages_figure(parts: Sequence[Mapping[str, Any]]) -> Any:
    """Draws what came into each stage: what went on, and what was dropped by its main reasons.

    A bar is as long as what came in, so that the bars make a funnel.
    """
    figure = new_figure(height=1.5 + 0.45 * len(parts))
    axes = figure.subplots()
    kept = [part["documents_kept"] for part in parts]
    axes.barh(range(len(parts)), kept, height=0.68, color=BLUE, label="kept", **_EDGE)
    left = list(kept)
    for rank in range(MOST_REASONS):
        widths = [_dropped(part, rank) for part in parts]
        if not any(widths):
            break
        words = "dropped, the other reasons" if rank == MOST_REASONS - 1 else _ORDER[rank]
        axes.barh(
            range(len(parts)), widths, left=left, height=0.68, label=words,
            color=_SHADES[rank], hatch=_HATCHES[rank], **_EDGE,
        )  # fmt: skip
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for row, part in enumerate(parts):
        share = part["documents_kept"] / max(part["documents_in"], 1)
        words = f" {part['documents_kept']:,} kept, {share:.1%}"
        axes.text(left[row], row, words, va="center", fontsize=8)
    plain_bars(axes, [part["name"] for part in parts], "documents")
    axes.set_xlim(0, 1.3 * max(*left, 1))
    whole_numbers(axes.xaxis)
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    return figure


def reasons_figure(parts: Sequence[Mapping[str, Any]]) -> Any:
    """Draws the documents that were dropped by stage and reason; the most on top."""
    drops = [(n, f"{part['name']}: {why}") for part in parts for why, n in part["dropped"].items()]
    drops = sorted(drops, reverse=True)[:MOST_BARS]
    return counts_figure(
        {words: n for n, words in drops}, "documents that were dropped", longest=48
    )


def counts_figure(counts: Mapping[str, float], x: str, *, longest: int = 22) -> Any:
    """Draws a bar for each name, in their order; with its number."""
    shown = dict(list(counts.items())[:MOST_BARS])
    figure = new_figure(height=1.0 + 0.3 * len(shown))
    axes = figure.subplots()
    values = list(shown.values())
    axes.barh(range(len(shown)), values, height=0.68, color=BLUE, **_EDGE)
    for row, value in enumerate(values):
        words = f" {value:,}" if isinstance(value, int) else f" {value:.2f}"
        axes.text(value, row, words, va="center", fontsize=8)
    plain_bars(axes, labels_of(list(shown), longest=longest), x)
    axes.set_xlim(0, 1.15 * max(*values, 1e-9))
    if all(isinstance(value, int) for value in values):
        whole_numbers(axes.xaxis)
    else:
        axes.xaxis.set_major_formatter("{x:,.6g}" if max(values) < 10 else "{x:,.0f}")
    return figure


def document_lengths_figure(lengths: Mapping[str, Sequence[int]]) -> Any:
    """Draws how many documents have how many tokens, by powers of two."""
    edges, counts = lengths["edges"], lengths["counts"]
    figure = new_figure(height=2.8)
    axes = figure.subplots()
    places = range(len(counts))
    axes.bar(places, counts, width=1.0, align="edge", color=BLUE, edgecolor="white")
    step = -(-len(edges) // 14)
    shown = range(0, len(edges), step)
    axes.set_xticks(list(shown), [short(edges[n]) for n in shown])
    whole_numbers(axes.yaxis)
    plain(axes, "tokens in a document (powers of two)", "documents")
    axes.grid(False, axis="x")
    return figure


def short(n: int) -> str:
    """Writes a power of two as people say it: 512, 4Ki, 1Mi."""
    for size, unit in ((2**40, "Ti"), (2**30, "Gi"), (2**20, "Mi"), (2**10, "Ki")):
        if n >= size:
            return f"{n // size}{unit}"
    return str(n)


_EDGE = {"edgecolor": "#333333", "linewidth": 0.5}
_ORDER = ("dropped, the main reason", "dropped, the second", "dropped, the third")


def _dropped(part: Mapping[str, Any], rank: int) -> int:
    """Gives the documents of the reason of a rank; the last rank has all the others."""
    numbers = sorted(part["dropped"].values(), reverse=True)
    if rank == MOST_REASONS - 1:
        return sum(numbers[rank:])
    return int(numbers[rank]) if rank < len(numbers) else 0
