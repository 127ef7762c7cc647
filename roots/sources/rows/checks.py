"""Checks of one row: each gives the row back, perhaps made ready, or says why it is bad.

A field in these messages is the task's name for a column; with a mapping the two differ, and
`Columns` stands first, so that its own messages name the file's columns.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal

from roots.records import BadRow, Row
from roots.sources.jsonl import kind_of
from roots.sources.rows.labels import LabelSet, label_name

Check = Callable[[Row], Row | BadRow]

_NUMERAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class HasText:
    """Refuses a field that is empty, blank, NaN or no text.

    Args:
        field: The field.
    """

    def __init__(self, field: str) -> None:
        self.field = field

    def __call__(self, row: Row) -> Row | BadRow:
        """Gives the row back as it is."""
        value = row.fields.get(self.field)
        if isinstance(value, str):
            if value and not value.isspace():
                return row
            return bad(row, "empty text", f"'{self.field}' is empty", "Fill it in")
        if _is_nan(value):
            return bad(row, "NaN", f"'{self.field}' is NaN, not text", "Fill it in")
        what = f"'{self.field}' is {kind_of(value)}, not text"
        return bad(row, "not text", what, "Map a column of texts")


class Number:
    """Makes a field a finite float, for regression.

    Args:
        field: The field.
    """

    def __init__(self, field: str) -> None:
        self.field = field

    def __call__(self, row: Row) -> Row | BadRow:
        """Gives the row with a float."""
        value = row.fields.get(self.field)
        number = _float(value)
        if number is None:
            what = f"'{self.field}' is {value!r}, not a number"
            return bad(row, "not a number", what, "Write it with a decimal point, such as 3.5")
        if not math.isfinite(number):
            reason = "NaN" if math.isnan(number) else "infinite number"
            return bad(row, reason, f"'{self.field}' is {value!r}", "Give a finite number")
        return _with(row, self.field, number)


class OneLabel:
    """Makes a field the name of a label, or its number where the labels are known.

    Args:
        field: The field.
        labels: The labels of the task; without them the field becomes a name, of which
            `LabelSet.of` makes them.
    """

    def __init__(self, field: str, labels: LabelSet | None = None) -> None:
        self.field = field
        self.labels = labels

    def __call__(self, row: Row) -> Row | BadRow:
        """Gives the row with a name or a number."""
        value = row.fields.get(self.field)
        name = label_name(value)
        if name is None:
            return _no_label(row, self.field, value)
        if self.labels is None:
            return _with(row, self.field, name)
        number = self.labels.number(name)
        if number is None:
            return _unknown(row, f"'{self.field}'", name, self.labels)
        return _with(row, self.field, number)


class ManyLabels:
    """Makes a field a tuple of label names or numbers; a row may have none, and none twice.

    Args:
        field: The field: a list, or a text of names with `separator` between them.
        labels: The labels of the task, if they are known already.
        separator: What stands between two names in a text.
    """

    def __init__(self, field: str, labels: LabelSet | None = None, separator: str = ",") -> None:
        self.field = field
        self.labels = labels
        self.separator = separator

    def __call__(self, row: Row) -> Row | BadRow:
        """Gives the row with a tuple, in the order of the row."""
        value = row.fields.get(self.field)
        if isinstance(value, str):
            value = value.split(self.separator) if value.strip() else []
        if not isinstance(value, (list, tuple)):
            what = f"'{self.field}' is {kind_of(value)}, not a list of labels"
            cure = f"Write a list, or names with {self.separator!r} between them; [] for none"
            return bad(row, "missing label", what, cure)
        found: list[str | int] = []
        for item in value:
            name = label_name(item)
            if name is None:
                return _no_label(row, self.field, item)
            number = name if self.labels is None else self.labels.number(name)
            if number is None and self.labels is not None:
                return _unknown(row, f"'{self.field}'", name, self.labels)
            known = name if number is None else number
            if known in found:
                return _twice(row, self.field, item)
            found.append(known)
        return _with(row, self.field, tuple(found))


class TaggedWords:
    """Refuses words that are no texts, and tags of which there are not as many as words.

    Args:
        words: The field with the words: a list.
        tags: The field with the tags: a list as long.
        labels: The tags of the task; without them the tags stay names, else they become numbers.
    """

    def __init__(
        self, words: str = "words", tags: str = "tags", labels: LabelSet | None = None
    ) -> None:
        self.words = words
        self.tags = tags
        self.labels = labels

    def __call__(self, row: Row) -> Row | BadRow:
        """Gives the row with a list of names or numbers as tags."""
        words, tags = row.fields.get(self.words), row.fields.get(self.tags)
        for field, value in ((self.words, words), (self.tags, tags)):
            if not isinstance(value, (list, tuple)):
                what = f"'{field}' is {kind_of(value)}, not a list"
                return bad(row, "not a list", what, "Give one item for each word")
        assert isinstance(words, Sequence)
        assert isinstance(tags, Sequence)
        if not words:
            return bad(row, "empty text", f"'{self.words}' is empty", "Fill it in")
        if len(words) != len(tags):
            what = f"{len(words)} {self.words} and {len(tags)} {self.tags}"
            return bad(row, "lengths differ", what, "Give each word one tag")
        for place, word in enumerate(words, 1):
            if not isinstance(word, str) or not word.strip():
                what = f"item {place} of '{self.words}' is {word!r}, not a word"
                return bad(row, "empty text", what, "Delete it together with its tag")
        return self._tagged(row, words, tags)

    def _tagged(self, row: Row, words: Sequence[str], tags: Sequence[object]) -> Row | BadRow:
        found: list[str | int] = []
        for place, tag in enumerate(tags, 1):
            name = label_name(tag)
            of = f"item {place} of '{self.tags}' (for {words[place - 1]!r})"
            if name is None:
                return bad(row, "missing label", f"{of} is {tag!r}, no tag", "Fill it in")
            number = None if self.labels is None else self.labels.number(name)
            if number is None and self.labels is not None:
                return _unknown(row, of, name, self.labels)
            found.append(name if number is None else number)
        return _with(row, self.tags, found)


def bad(row: Row, reason: str, what: str, cure: str) -> BadRow:
    """Words the refusal of a row: where, what is wrong, and the cure or to delete it."""
    message = f"{row.where}: {what}. {cure}, or delete the row."
    return BadRow(row.where, reason, message, row.fields)


def _no_label(row: Row, field: str, value: object) -> BadRow:
    reason = "NaN" if _is_nan(value) else "missing label"
    return bad(row, reason, f"'{field}' is {value!r}, which is no label", "Fill it in")


def _twice(row: Row, field: str, item: object) -> BadRow:
    what = f"'{field}': the label {item!r} stands twice; a list names the labels that are there"
    cure = "Write each once; for a vector of 0 and 1 write the names of its ones"
    return bad(row, "label twice", what, cure)


def _unknown(row: Row, of: str, name: str, labels: LabelSet) -> BadRow:
    what = f"{of}: the label {labels.unknown(name)}"
    return bad(row, "unknown label", what, "Correct it, or add the label to the training split")


def _with(row: Row, field: str, value: object) -> Row:
    return Row({**row.fields, field: value}, row.where)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _float(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float, Decimal)):  # parquet has all three
        try:
            return float(value)
        except OverflowError:
            return math.inf
    if not isinstance(value, str):
        return None
    text = value.strip()
    named = text.lower().lstrip("+-") in ("nan", "inf", "infinity")
    return float(text) if named or _NUMERAL.fullmatch(text) else None
