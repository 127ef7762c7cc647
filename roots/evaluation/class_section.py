"""The part of a run's page that is about classes: confusions, rates, calibration, mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from roots.evaluation.canvas import undrawn
from roots.evaluation.class_figures import (
    MOST_CLASSES,
    RATES,
    confusion_figure,
    expected_error,
    rates_figure,
    reliability_figure,
)
from roots.evaluation.details_section import STAGES, add_origin, damage_told, figure_name
from roots.evaluation.page import Page
from roots.evaluation.run_record import RunRecord

MOST_PAIRS = 20


def add(page: Page, record: RunRecord) -> None:
    """Adds what is known of each stage's classes; nothing where there are none."""
    for stage, words in STAGES.items():
        details = record.details.get(stage, {})
        rates = rates_of(record, stage)
        if rates or {"confusion", "reliability", "mistakes"} & details.keys():
            page.heading(f"Classes, on {words} data")
            with damage_told(page, record.run.details_file(stage).name):
                add_origin(page, record, stage)
                _add_stage(page, record, stage, rates)


def rates_of(record: RunRecord, stage: str) -> dict[str, dict[str, float]]:
    """Gives the newest precision, recall and F1 of each class, in the order of the log.

    They are of the weights that the stage's details are of: where `roots validate` wrote those of a
    checkpoint, what it measured, and nothing where it left none of that checkpoint.

    Parts that have no more than an F1 (answerable questions) are no classes. A rate that is not
    finite (of a class that does not occur) is left out.
    """
    for row in reversed(_measured(record, stage)):
        found: dict[str, dict[str, float]] = {}
        for name, value in row.items():
            where, _, rest = name.partition("/")
            rate, _, of_class = rest.partition("/")
            if where == stage and rate in RATES and of_class:
                found.setdefault(of_class, {})[rate] = value
        if found:
            return {name: rates for name, rates in found.items() if len(rates) > 1}
    return {}


def _measured(record: RunRecord, stage: str) -> list[dict[str, float]]:
    """Gives what was measured of the weights that the details are of, oldest first."""
    of = record.details.get(stage, {}).get("checkpoint")
    if stage == "val" and of is None:
        return record.rows
    told = record.test if stage == "test" else record.validated
    if stage == "val" and told.get("checkpoint") != of:
        return []
    return [{n: v for n, v in told.items() if isinstance(v, (int, float)) and isfinite(v)}]


def _add_stage(
    page: Page, record: RunRecord, stage: str, rates: Mapping[str, Mapping[str, float]]
) -> None:
    details = record.details.get(stage, {})
    _add_confusion(page, record, stage, details.get("confusion"))
    if rates:
        more = f"; the worst {MOST_CLASSES} of {len(rates)}" if len(rates) > MOST_CLASSES else ""
        key = undrawn(list(rates))
        words = f"Precision, recall and F1 of each class, the worst on top{more}{key}"
        _figure(page, record, figure_name("classes", stage), rates_figure(rates), words)
    _add_calibration(page, record, stage, details.get("reliability"))
    _add_mistakes(page, details.get("mistakes") or [])


def _add_confusion(page: Page, record: RunRecord, stage: str, confusion: Any) -> None:
    if not confusion:
        return
    names, counts = confusion["names"], confusion.get("counts")
    if counts is not None and len(names) <= MOST_CLASSES:
        name = figure_name("confusion", stage)
        words = "Rows by label and by what was predicted; dark is a large share of the label's rows"
        caption = f"{words}{undrawn(names)}"
        _figure(page, record, name, confusion_figure(names, counts), caption)
    pairs = confusion["pairs"] if counts is None else _pairs(names, counts)
    if pairs and len(names) > 2:
        rows = [[each["label"], each["predicted"], each["rows"]] for each in pairs[:MOST_PAIRS]]
        page.table(["label", "predicted", "rows"], rows, "What is confused most")


def _pairs(names: list[str], counts: list[list[int]]) -> list[dict[str, Any]]:
    found = [
        {"label": names[r], "predicted": names[c], "rows": n}
        for r, row in enumerate(counts)
        for c, n in enumerate(row)
        if n and r != c
    ]
    return sorted(found, key=lambda pair: -pair["rows"])


def _add_calibration(page: Page, record: RunRecord, stage: str, diagram: Any) -> None:
    if not diagram or not sum(diagram["count"]):
        return
    name = figure_name("calibration", stage)
    error = expected_error(diagram)
    caption = (
        "Reliability: among predictions of a confidence, the share that is right. On the dashed"
        f" line it would be as sure as it is right; the mean distance (ECE) is {error:.3f}"
    )
    _figure(page, record, name, reliability_figure(diagram), caption)


def _add_mistakes(page: Page, mistakes: list[dict[str, Any]]) -> None:
    if not mistakes:
        return
    words = any("word" in mistake for mistake in mistakes)
    head = ["confidence", "label", "predicted", *(["word"] if words else []), "text", "where"]
    rows = [
        [
            float(each["confidence"]),
            str(each["label"]),
            str(each["predicted"]),
            *([str(each.get("word", ""))] if words else []),
            str(each.get("text", "")),
            str(each.get("where", "")),
        ]
        for each in mistakes
    ]
    page.table(head, rows, "The mistakes that it was surest of: a wrong label, or a hard text?")


def _figure(page: Page, record: RunRecord, name: str, figure: Any, caption: str) -> None:
    page.kept_figure(figure, record.page_folder / f"{name}.png", caption)
