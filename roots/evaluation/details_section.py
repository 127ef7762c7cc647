"""What the sections on an evaluation's details share: one part for each stage, damage told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from roots.evaluation.page import Page
from roots.evaluation.run_record import RunRecord

STAGES = {"val": "validation", "test": "test"}
DAMAGE = (KeyError, TypeError, ValueError, IndexError, AttributeError)
"""What reading details raises that are not what an evaluation writes."""


def add_details(
    page: Page,
    record: RunRecord,
    key: str,
    heading: str,
    add_stage: Callable[[Page, RunRecord, str, Any], None],
) -> None:
    """Adds a section for each stage that has details of a kind.

    Args:
        page: Where it is added.
        record: The run.
        key: The kind, as the details name it.
        heading: Names the section.
        add_stage: Adds one stage's: page, record, stage, and what the details hold.
    """
    for stage, words in STAGES.items():
        if key in record.details.get(stage, {}):
            page.heading(f"{heading}, on {words} data")
            add_origin(page, record, stage)
            with_damage_told(page, record, stage, add_stage, record.details[stage][key])


def add_origin(page: Page, record: RunRecord, stage: str) -> None:
    """Says of which weights the details are."""
    details = record.details.get(stage, {})
    if "step" in details:
        page.text(f"After step {details['step']:,}.")
    if "checkpoint" in details:
        page.text(f"Of the checkpoint: {details['checkpoint']}.")


def with_damage_told(
    page: Page,
    record: RunRecord,
    stage: str,
    add_stage: Callable[[Page, RunRecord, str, Any], None],
    details: Any,
) -> None:
    """Adds a stage's part; of a damaged file it says so, and leaves the rest out."""
    try:
        add_stage(page, record, stage, details)
    except DAMAGE as error:
        file = record.run.details_file(stage).name
        page.text(
            f"Note: {file} is damaged ({type(error).__name__}: {error}): the rest is left out."
        )


def figure_name(name: str, stage: str) -> str:
    """Names a figure's file: the validation's by its kind alone."""
    return name if stage == "val" else f"{name}-{stage}"
