"""The part of a run's page that is about predicted numbers: how far they are off, and where."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from roots.evaluation.canvas import BLUE, GREY, ORANGE, new_figure, plain, whole_numbers
from roots.evaluation.details_section import add_details, figure_name
from roots.evaluation.page import Page
from roots.evaluation.run_record import RunRecord


def add(page: Page, record: RunRecord) -> None:
    """Adds what is known of each stage's predicted numbers; nothing where there are none."""
    add_details(page, record, "numbers", "Predicted numbers", _add_stage)


def _add_stage(page: Page, record: RunRecord, stage: str, numbers: Mapping[str, Any]) -> None:
    shown, n = len(numbers["label"]), numbers["rows"]
    some = f" {shown:,} of {n:,} rows are drawn." if shown < n else f" {n:,} rows."
    page.kept_figure(
        numbers_figure(numbers),
        record.page_folder / f"{figure_name('numbers', stage)}.png",
        "Left: each row's predicted number against its label; on the dashed line both are equal."
        " Right: how what was predicted minus the label spreads, in the labels' own unit, over all"
        f" rows.{some}",
    )
    rows = [
        [
            float(row["predicted"] - row["label"]),
            float(row["label"]),
            float(row["predicted"]),
            str(row.get("text", "")),
            str(row.get("where", "")),
        ]
        for row in numbers["largest"]
    ]
    head = ["error", "label", "predicted", "text", "where"]
    page.table(head, rows, "The largest errors: a wrong label, or a hard text?")


def numbers_figure(numbers: Mapping[str, Any]) -> Any:
    """Draws predicted numbers against labels with the diagonal, and how the residuals spread.

    Args:
        numbers: As `roots.metrics.Residuals` tells them.
    """
    figure = new_figure(8.0, 4.2)
    pairs, spread = figure.subplots(1, 2)
    labels, predicted = numbers["label"], numbers["predicted"]
    low, high = min(labels + predicted), max(labels + predicted)
    many = len(labels) > 300
    pairs.plot([low, high], [low, high], "--", color=GREY, label="both are equal", zorder=1)
    pairs.scatter(
        labels, predicted, s=7 if many else 16, color=BLUE, alpha=0.45 if many else 0.75, zorder=2
    )
    plain(pairs, "label", "predicted")
    told = [
        f"{name} {numbers[key]:.3f}"
        for name, key in (("Pearson", "pearson"), ("Spearman", "spearman"))
        if numbers[key] is not None
    ]
    pairs.set_title(" · ".join(told), loc="left", fontsize=10)
    edges, mean, deviation = numbers["edges"], numbers["mean"], numbers["deviation"]
    widths = [right - left for left, right in pairwise(edges)]
    spread.bar(
        edges[:-1], numbers["count"], width=widths, align="edge", color="#d9d9d9",
        edgecolor="#333333", linewidth=0.5,
    )  # fmt: skip
    spread.axvline(0.0, color=GREY, linestyle="--", linewidth=1.2)
    spread.axvline(mean, color=ORANGE, linewidth=2.0, label=f"mean error {mean:.3g}")
    for sign in (-1, 1):
        words = f"± one standard deviation, {deviation:.3g}" if sign > 0 else None
        spread.axvline(mean + sign * deviation, color=ORANGE, linestyle=":", label=words)
    whole_numbers(spread.yaxis)
    plain(spread, "predicted minus label", "rows")
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    return figure
