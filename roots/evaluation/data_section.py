"""The part of a run's page that is about its data: how much, how long, with which labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from roots.evaluation.canvas import (
    BLUE,
    HATCHES,
    labels_of,
    new_figure,
    plain,
    plain_bars,
    undrawn,
    whole_numbers,
)
from roots.evaluation.details_section import damage_told
from roots.evaluation.page import Page
from roots.runs import redact_values

MOST_LABELS = 30
_SHADES = (BLUE, "#d9d9d9", "#9bc48f")


def add(page: Page, card: Mapping[str, Any]) -> None:
    """Adds the card that the data module wrote; nothing where there is none."""
    if not card:
        return
    page.heading("Data")
    page.text(str(card.get("description", "")))
    with damage_told(page, "data.json"):
        for remark in card.get("remarks") or []:
            page.text(f"Note: {remark}")
    with damage_told(page, "data.json"):
        _add_splits(page, card.get("splits") or {})
    if corpus := card.get("corpus"):
        whole = json.dumps(redact_values(corpus), indent=2, ensure_ascii=False)
        page.verbatim(whole, "where the corpus comes from")
    if card.get("fingerprint"):
        page.text(f"Fingerprint: {card['fingerprint']}")


def _add_splits(page: Page, splits: Mapping[str, Mapping[str, Any]]) -> None:
    names = list(dict.fromkeys(k for split in splits.values() for k in split if k not in _DRAWN))
    rows = [[name, *(split.get(k) for k in names)] for name, split in splits.items()]
    if rows:
        page.table(["split", *(name.replace("_", " ") for name in names)], rows)
    labels = {name: split["labels"] for name, split in splits.items() if split.get("labels")}
    if labels:
        shown = list(dict.fromkeys(label for counts in labels.values() for label in counts))
        page.figure(
            labels_figure(labels, _wholes(splits)),
            f"Labels by split, as shares of it{undrawn(shown)}",
        )
    if train := splits.get("train", {}).get("lengths"):
        page.figure(lengths_figure(train), "Lengths of the training rows")


_DRAWN = ("labels", "lengths")


def _wholes(splits: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Gives what the labels of each split are a share of; old cards do not tell."""
    known = {name: split.get("labelled") for name, split in splits.items()}
    return {name: int(n) for name, n in known.items() if n}


def labels_figure(
    labels: Mapping[str, Mapping[str, int]], wholes: Mapping[str, int] | None = None
) -> Any:
    """Draws how the labels are spread in each split, the most frequent on top."""
    total = {
        name: sum(counts.get(name, 0) for counts in labels.values())
        for counts in labels.values()
        for name in counts
    }
    words = dict(zip(total, labels_of(list(total)), strict=True))
    shown = sorted(total, key=lambda name: -total[name])[:MOST_LABELS]
    figure = new_figure(height=1.4 + 0.26 * len(labels) * len(shown) ** 0.95)
    axes = figure.subplots()
    height = 0.8 / len(labels)
    for number, (split, counts) in enumerate(labels.items()):
        places = [row + height * (number - (len(labels) - 1) / 2) for row in range(len(shown))]
        whole = (wholes or {}).get(split) or max(sum(counts.values()), 1)
        shares = [counts.get(name, 0) / whole for name in shown]
        axes.barh(
            places, shares, height=0.92 * height, label=split, color=_SHADES[number % 3],
            hatch=HATCHES[number % 3], edgecolor="#333333", linewidth=0.5,
        )  # fmt: skip
        for place, share, name in zip(places, shares, shown, strict=True):
            axes.text(share, place, f" {counts.get(name, 0):,}", va="center", fontsize=7)
    plain_bars(
        axes, [words[name] for name in shown], "share of what has labels (the numbers are how many)"
    )
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=len(labels))
    return figure


def lengths_figure(histogram: Mapping[str, list[int]]) -> Any:
    """Draws how many rows have which length."""
    edges, counts = histogram["edges"], histogram["counts"]
    widths = [b - a for a, b in pairwise(edges)]
    figure = new_figure(height=2.6)
    axes = figure.subplots()
    axes.bar(edges[:-1], counts, width=widths, align="edge", color=BLUE, edgecolor="white")
    whole_numbers(axes.yaxis)
    whole_numbers(axes.xaxis)
    plain(axes, "tokens in a row", "rows")
    return figure
