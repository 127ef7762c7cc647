"""Rows of one text or of two: a network that learned one kind is not asked about the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roots.errors import DataError
from roots.records import BadRow, Row
from roots.sources.rows import HasText
from roots.sources.rows.checks import bad

PAIR = "text_pair"
"""The field of the second text."""


def are_pairs(rows: Sequence[Row], columns: Mapping[str, str]) -> bool:
    """Tells whether training rows are pairs of texts.

    Args:
        rows: All of them.
        columns: The file's name for each field, where they differ.

    Raises:
        DataError: Some are, and some are not.
    """
    have = [PAIR in row.fields for row in rows]
    if any(have) and not all(have):
        column = columns.get(PAIR, PAIR)
        raise DataError(
            f"{rows[have.index(False)].where} has no column '{column}' with a second text, and"
            f" {rows[have.index(True)].where} has one ({sum(have):,} of {len(rows):,} training rows"
            " do). Give it to all rows or to none: a network learns pairs of texts, or texts."
        )
    return any(have)


class SecondText:
    """Refuses a second text that is none, or that the training rows did not have.

    Args:
        pairs: Whether the training rows are pairs; None where that is not known.
        columns: The file's name for each field, where they differ.
    """

    def __init__(self, pairs: bool | None, columns: Mapping[str, str]) -> None:
        self.pairs = pairs
        self.column = columns.get(PAIR, PAIR)

    def __call__(self, row: Row) -> Row | BadRow:
        """Gives the row back as it is."""
        if PAIR not in row.fields:
            return row
        if self.pairs is False:
            what = f"there is a second text in the column '{self.column}', and training rows have"
            cure = "Name theirs in data.columns, or take the column out"
            return bad(row, "a second text", f"{what} one text each", cure)
        return HasText(PAIR)(row)


def text_of(row: Row) -> str | tuple[str, str]:
    """Gives the text of a row, or both."""
    text, pair = row.fields["text"], row.fields.get(PAIR)
    return (text, pair) if pair is not None else text  # type: ignore[return-value]
