"""The books as a figure: a bar for each part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from roots.evaluation.canvas import new_figure, save_png
from roots.fit.profile.books import Books
from roots.fit.profile.parts import PHASES
from roots.fit.profile.table import Report

# Apart in colour, in lightness and in pattern, so that grey paper and any eye can tell them.
_STYLE = {
    "forward": {"color": "#1f3f63", "hatch": ""},
    "backward": {"color": "#d98b4a", "hatch": "////"},
    "step": {"color": "#d9d9d9", "hatch": "...."},
}


def draw_report(report: Report, path: Path) -> None:
    """Draws the parts of a step as stacked bars: forward, backward, step."""
    parts = report.shown[::-1]  # the first one on top
    figure = new_figure(height=1.8 + 0.36 * len(parts))
    axes = figure.subplots()
    _draw_bars(axes, report.books, parts)
    axes.set_title(_title(report), loc="left", fontsize=10)
    axes.set_xlabel("milliseconds per optimizer step")
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=len(PHASES))
    save_png(figure, path)


def _draw_bars(axes: Any, books: Books, parts: list[str]) -> None:
    left = [0.0] * len(parts)
    for phase in PHASES:
        widths = [1e3 * books.seconds.get((part, phase), 0.0) for part in parts]
        axes.barh(
            parts,
            widths,
            left=left,
            height=0.68,
            label=phase,
            edgecolor="#333333",
            linewidth=0.5,
            **_STYLE[phase],
        )
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for row, total in enumerate(left):
        share = total / 1e3 / books.wall_seconds
        axes.annotate(
            f"{total:,.1f} ms · {share * 100:.1f} %",
            (total, row),
            textcoords="offset points",
            xytext=(4, 0),
            va="center",
            fontsize=8,
        )
    axes.set_xlim(0, max(left) * 1.22)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _title(report: Report) -> str:
    books = report.books
    rate = report.tokens_per_step / report.plain_seconds
    return (
        f"{report.name}: where a step of {books.wall_seconds * 1e3:,.1f} ms goes"
        f" (mean of {books.n_steps}, profiled)\n"
        f"{report.device} · without the profiler {report.plain_seconds * 1e3:,.1f} ms,"
        f" {rate:,.0f} tokens/s"
    )
