"""What the sections of a run's page share: damage is told, and details have a part per stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from roots.evaluation.page import Page
from roots.evaluation.run_record import RunRecord

STAGES = {"val": "validation", "test": "test"}
DAMAGE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What reading values raises that are not what a run writes."""


@contextmanager
def damage_told(page: Page, file: str) -> Iterator[None]:
    """Says of a file that it is damaged, and leaves the rest of the block out.

    Args:
        page: Where it is said.
        file: What the block reads.
    """
    try:
        yield
    except DAMAGE as error:
        page.text(
            f"Note: {file} is damaged ({type(error).__name__}: {error}): the rest is left out."
        )


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
            with damage_told(page, record.run.details_file(stage).name):
                add_origin(page, record, stage)
                add_stage(page, record, stage, record.details[stage][key])


def add_origin(page: Page, record: RunRecord, stage: str) -> None:
    """Says of which weights the details are."""
    details = record.details.get(stage, {})
    if "step" in details:
        page.text(f"After step {details['step']:,}.")
    if "checkpoint" in details:
        page.text(f"Of the checkpoint: {details['checkpoint']}.")


def figure_name(name: str, stage: str) -> str:
    """Names a figure's file: the validation's by its kind alone."""
    return name if stage == "val" else f"{name}-{stage}"
