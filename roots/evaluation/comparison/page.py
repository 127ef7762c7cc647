"""A comparison in words and tables, for a terminal and as a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from roots.evaluation.canvas import save_png
from roots.evaluation.comparison.comparing import Comparison, Outcome
from roots.evaluation.comparison.figure import draw
from roots.evaluation.comparison.groups import Group
from roots.evaluation.page import Page
from roots.runs import redact_values, write_record

_RUN = ("run", "group", "seed", "state", "step", "final", "best", "at step", "tokens/s", "tokens")
TABLE = (*_RUN, "training s", "wall s")
WIDTH = 40
"""Of a column of settings on a terminal."""


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Writes comparison.html, .png and .json into a folder, in place of those that lie there."""
    folder.mkdir(parents=True, exist_ok=True)
    figure = draw(comparison)
    write_record(folder / "comparison.json", comparison.plain())
    page = as_page(comparison, figure).save(folder / "comparison.html")
    return [page, save_png(figure, folder / "comparison.png"), folder / "comparison.json"]


def as_page(comparison: Comparison, figure: Any) -> Page:
    """Gives the page."""
    count = sum(len(group.runs) for group in comparison.groups)
    which = "smallest" if comparison.mode == "min" else "greatest"
    page = Page(
        f"{count} runs compared", f"by {comparison.metric}, of which the {which} is the best"
    )
    for remark in comparison.remarks:
        page.text(remark)
    page.heading("Results")
    page.table(TABLE, map(_cells, comparison.outcomes))
    page.heading("Means over seeds")
    page.table(("group", "final", "best", "tokens/s"), _means(comparison))
    if comparison.differences:
        page.heading("Differences from A (Welch's t test)")
        page.table(("group", "of", "difference"), _tests(comparison))
    page.heading("Curves")
    page.figure(figure, f"{comparison.metric} over optimizer steps, tokens and time of training")
    page.heading("Settings that differ")
    letters = [group.letter for group in comparison.groups]
    page.table(("setting", *letters), _settings(comparison))
    return page


def in_words(comparison: Comparison) -> str:
    """Words a comparison for a terminal."""
    letters = [group.letter for group in comparison.groups]
    results = [[_worded(cell) for cell in _cells(outcome)] for outcome in comparison.outcomes]
    parts = [
        f"{comparison.metric} ({comparison.mode} is best)",
        _aligned([list(TABLE), *results]),
        _aligned([["group", "final", "best", "tokens/s"], *_means(comparison)]),
    ]
    if comparison.differences:
        parts.append(_aligned([["from A", "of", "difference"], *_tests(comparison)]))
    if comparison.settings:
        rows = [[name, *_cut(each)] for name, *each in _settings(comparison)]
        parts.append(_aligned([["setting", *letters], *rows]))
    if comparison.remarks:
        parts.append("\n".join(comparison.remarks))
    return "\n\n".join(parts)


def _cells(o: Outcome) -> tuple[object, ...]:
    seconds = round(o.training_seconds, 1), round(o.wall_seconds, 1) or None
    rate = None if o.tokens_per_second is None else round(o.tokens_per_second)
    numbers = (o.step, o.final, o.best, o.best_step, rate, o.tokens)
    return (o.run, o.group, o.seed, o.state, *numbers, *seconds)


def _means(comparison: Comparison) -> list[list[str]]:
    whats = ("final", "best", "tokens_per_second")
    return [
        [g.name, *(str(comparison.spreads[g.letter].get(what, _none(g))) for what in whats)]
        for g in comparison.groups
    ]


def _none(group: Group) -> str:
    return "not measured" if group.counted else "no run counts"


def _tests(comparison: Comparison) -> list[list[str]]:
    return [
        [letter, what, str(difference)]
        for letter, each in comparison.differences.items()
        for what, difference in each.items()
    ]


def _settings(comparison: Comparison) -> list[list[str]]:
    return [  # by the names that flags take
        [name.replace(".init_args", ""), *(_setting(value) for value in redact_values(values))]
        for name, values in comparison.settings.items()
    ]


def _cut(values: Sequence[str]) -> list[str]:
    """Cuts values to a column of a terminal, where they still differ: at the end or before it."""
    letters = enumerate(zip(*values, strict=False))
    begin = next((place for place, each in letters if len({*each}) > 1), 0)
    ways: tuple[Callable[[str], str], ...] = (
        lambda value: f"{value[: WIDTH - 1]}…",
        lambda value: f"{value[: WIDTH // 2 - 1]}…{value[-WIDTH // 2 :]}",
        lambda value: f"…{value[begin : begin + WIDTH - 2]}…",
    )
    for way in ways:
        short = [value if len(value) <= WIDTH else way(value) for value in values]
        if len({*short}) == len({*values}):
            return short
    return [*values]


def _setting(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _worded(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.5g}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    )
