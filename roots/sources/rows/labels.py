"""LabelSet: the names of the classes and the number of each, kept with the model."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from pathlib import Path

from roots.errors import ConfigError, DataError, nearest
from roots.records import expanded, is_file
from roots.runs import write_atomically
from roots.sources.decoding import Decoder, open_raw
from roots.sources.finding import missing

_SHOWN = 12
_MANY = 100  # fewer names than these are believed to be classes, however few the rows


class LabelSet:
    """The classes of a task; the number of a class is its place among the names, from 0.

    Args:
        names: The names in the order of their numbers.
        by_number: Whether a row may also say a label by its number. For a list of names that was
            given; names that were found in the rows are how the rows say them. Names that are
            numbers themselves, such as stars from 1 to 5, are said by name alone.

    Raises:
        ConfigError: There are fewer than two names, or one is empty or comes twice.
    """

    def __init__(self, names: Sequence[str], *, by_number: bool = False) -> None:
        _check(names, "The list of labels")
        self.names = tuple(names)
        self.by_number = by_number and not any(map(_is_number, names))  # 0 beside "1" is no label
        self._numbers = {name: number for number, name in enumerate(self.names)}

    @classmethod
    def of(cls, labels: Iterable[str], column: str) -> LabelSet:
        """Collects the labels of the training split: numbers in their order, else by name.

        Args:
            labels: One for each row and label, as `label_name` writes them.
            column: Where they are, for messages.

        Raises:
            DataError: There are fewer than two, or nearly as many as rows.
        """
        counts: dict[str, int] = {}
        for label in labels:
            counts[label] = counts.get(label, 0) + 1
        n_rows = sum(counts.values())
        if len(counts) < 2:
            only = f"the single label {next(iter(counts))!r}" if counts else "no label"
            raise DataError(
                f"Column '{column}' of the training split holds {only} in {n_rows:,} rows, and a"
                " classifier needs two. Map the right column, or add rows of the other classes."
            )
        if len(counts) > max(_MANY, n_rows / 2):
            raise DataError(
                f"Column '{column}' of the training split holds {len(counts):,} different values in"
                f" {n_rows:,} rows, such as {next(iter(counts))!r}: these are no classes. Map the"
                " right column, choose regression for numbers, or give the list of labels."
            )
        return cls(_sorted(counts))

    @classmethod
    def given(cls, labels: str | Path | Sequence[object]) -> LabelSet:
        """Takes names, or reads them from a file: one name a line, or a JSON that `save` wrote.

        Args:
            labels: The names in the order of their numbers (1 is "1"), or a path; `~` and
                `${VARIABLE}` are expanded.
        """
        named = plain_labels(labels)
        if not isinstance(named, str):
            return cls(named, by_number=True)
        path = Path(expanded(named))
        if not is_file(path):
            raise missing(named)
        return cls.load(path) if path.suffix == ".json" else cls(_lines(path), by_number=True)

    @classmethod
    def load(cls, path: Path) -> LabelSet:
        """Reads what `save` wrote; a plain JSON list of names is read too.

        Raises:
            DataError: It is something else.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(content, list):
                content = {"names": content, "by_number": True}
            names, by_number = content["names"], content["by_number"]
            if not all(isinstance(name, str) for name in names):
                raise TypeError("a name is no string")
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} is no list of labels ({error!r}). Write"
                ' {"names": ["negative", "positive"], "by_number": false}, or fetch it again.'
            ) from error
        return cls(names, by_number=bool(by_number))

    def save(self, path: Path) -> None:
        """Writes the names as JSON, atomically."""
        content = {"names": list(self.names), "by_number": self.by_number}
        write_atomically(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")

    def __len__(self) -> int:
        return len(self.names)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LabelSet):
            return NotImplemented
        return (self.names, self.by_number) == (other.names, other.by_number)

    def __hash__(self) -> int:
        return hash((self.names, self.by_number))

    def __repr__(self) -> str:
        return f"LabelSet({list(self.names)!r}, by_number={self.by_number})"

    def number(self, label: str) -> int | None:
        """Gives the number of a label, by its name or, where that is allowed, by its number."""
        found = self._numbers.get(label)
        if found is None and self.by_number and _is_number(label):
            number = int(label) if len(label) < 10 else len(self)
            return number if number < len(self) else None
        return found

    def unknown(self, label: str) -> str:
        """Says that a label is none of these, what they are, and which is near."""
        shown = ", ".join(self.names[:_SHOWN])
        more = f", … ({len(self)} in all)" if len(self) > _SHOWN else ""
        numbers = f", nor a number from 0 to {len(self) - 1}" if self.by_number else ""
        return f"{label!r} is none of the labels {shown}{more}{numbers}{nearest(label, self.names)}"

    def check_all_seen(self, numbers: Collection[int], column: str) -> None:
        """Refuses a list with labels that no row of the training split has.

        Args:
            numbers: The numbers that occur in the training split.
            column: Where they are, for the message.

        Raises:
            DataError: A label is missing: a network could never learn it.
        """
        unseen = [name for number, name in enumerate(self.names) if number not in numbers]
        if unseen:
            raise DataError(
                f"Labels missing in the training split: {', '.join(unseen[:_SHOWN])}"
                f"{', …' if len(unseen) > _SHOWN else ''} ({len(unseen)} of the {len(self)} given);"
                f" no row of column '{column}' has them. Take them off the list of labels, or add"
                " rows that have them."
            )


def check_some_lack(rows: Sequence[Collection[object]], column: str) -> None:
    """Refuses lists of labels that all name the same two or more: there is nothing to tell apart.

    Vectors of 0 and 1 for two labels look so: each of them names 0 and 1.

    Args:
        rows: The labels of each row of the training split, none twice.
        column: Where they are, for the message.

    Raises:
        DataError: No row lacks a label that another has.
    """
    names = list(dict.fromkeys(label for labels in rows for label in labels))
    if len(names) > 1 and all(len(labels) == len(names) for labels in rows):
        raise DataError(
            f"Every row of column '{column}' in the training split names all {len(names)} labels"
            f" ({', '.join(map(str, names[:_SHOWN]))}{', …' if len(names) > _SHOWN else ''}), so"
            " that there is nothing to tell apart. A list names the labels that are there; where"
            " yours are vectors of 0 and 1, write the names of their ones."
        )


def label_name(value: object) -> str | None:
    """Writes a label as a name: 1, 1.0 and "1 " are "1"; nothing, NaN and 0.5 are no label."""
    if isinstance(value, str):
        name = value.strip()
        return name if name and name.lower() != "nan" else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (float, Decimal)) and math.isfinite(value) and value == int(value):
        return str(int(value))
    return None


def plain_labels(labels: str | Path | Sequence[object]) -> str | list[str]:
    """Writes the names of given labels as texts, 1 as "1"; what is no name is empty; or a path."""
    if isinstance(labels, (str, Path)):
        return str(labels)
    return [label_name(each) or "" for each in labels]


def _sorted(names: Collection[str]) -> list[str]:
    try:
        return sorted(names, key=lambda name: (int(name), name))
    except ValueError:
        return sorted(names)


def _lines(path: Path) -> list[str]:
    with open_raw(path) as file:
        text = Decoder(strict=True).decode(file.read(), path)
    names = [line.strip() for line in text.rstrip().split("\n")]
    _check(names, f"{path}, one label a line,")
    return names


def _check(names: Sequence[str], what: str) -> None:
    twice = (
        [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []
    )
    if twice:
        places = [str(at) for at, name in enumerate(names) if name == twice[0]]
        problem = f"has {twice[0]!r} {len(places)} times (numbers {', '.join(places)})"
    elif not all(name.strip() for name in names):
        problem = f"has an empty name (number {[bool(n.strip()) for n in names].index(False)})"
    elif len(names) < 2:
        problem = f"has {len(names)} names, and a classifier needs two"
    else:
        return
    raise ConfigError(f"{what} {problem}. Correct it: the number of a label is its place, from 0.")


def _is_number(label: str) -> bool:
    return label.isascii() and label.isdecimal()
