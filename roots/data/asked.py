"""Rows that are only asked about: read as the training rows are, without labels."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from roots.errors import ConfigError
from roots.records import BadRow, Row
from roots.sources.finding import find_files
from roots.sources.rows import CheckedRows, Columns, Conll, RowSource, Squad, rows_from
from roots.sources.rows.text_lines import text_lines, undecodable
from roots.tokenizer import words_of

LINES = (".txt", ".txt.gz")


class TextLines(RowSource):
    """Reads one text from each line; blank lines are passed over.

    Args:
        path: The file.
        field: What a line is called: `text`, `source`; `words` are made of it, and it stays beside
            them, so that places are told in its characters.
    """

    def __init__(self, *, path: str, field: str) -> None:
        self.path = path
        self.field = field

    def files(self) -> list[Path]:
        """Gives the file."""
        return find_files(self.path, list(LINES))

    def read(self) -> Iterator[Row | BadRow]:
        """Streams one row per line."""
        for path in self.files():
            for line in text_lines(path, "utf-8"):
                where, text = f"{path}:{line.number}", line.text.strip()
                if line.problem:
                    yield undecodable(path, line)
                elif text and self.field == "words":
                    words = [word for word, *_ in words_of(line.text)]
                    yield Row({"words": words, "text": line.text}, where)
                elif text:
                    yield Row({self.field: text}, where)


def asked_rows(data: Any, path: str) -> list[Row]:
    """Reads the rows of a file to predict; labels that are there are not looked at.

    Args:
        data: The data module: which fields a row has, and which of them are its labels.
        path: A file of a kind that training rows may be in, or a text on each line (`.txt`).

    Raises:
        ConfigError: A line of text is nothing that this task could be asked about.
        DataError: The file is missing, or a row lacks what is asked about.
    """
    read_as = Columns(
        {name: column for name, column in data.columns.items() if name not in data.LABELS},
        fields=_asked_of(data, data.fields()),
        optional=_asked_of(data, data.OPTIONAL),
    )
    source = TextLines(path=path, field=_line(data, path)) if _is_text(path) else _like(data, path)

    def blank(row: Row) -> Row:
        return Row({**row.fields, **data.without_labels(row)}, row.where)

    def named(row: Row) -> Row | BadRow:
        found = read_as(row)
        if isinstance(found, Row):
            return found
        cure = "Name it as the training rows do; data.columns is for both"
        return replace(found, message=f"{found.message.rsplit(' Set columns', 1)[0]} {cure}.")

    checked = CheckedRows(
        source,
        checks=[
            *([] if isinstance(source, TextLines) else [named]),
            blank,
            *data.checks_when_asked(),
        ],
        on_bad_row=data.on_bad_row,
        max_bad_fraction=data.max_bad_fraction,
    )
    rows = list(checked)
    read_as.check_met()
    if remark := checked.books.remark():
        data.remarks.append(f"predict: {remark}")
    return rows


def _is_text(path: str) -> bool:
    return path.lower().endswith(LINES)


def _line(data: Any, path: str) -> str:
    if not data.line():
        fields = _asked_of(data, data.fields() or data.OPTIONAL)
        raise ConfigError(
            f"{path}: a line of text is no row of {type(data).__name__}, which reads"
            f" {', '.join(fields)}. Give a .jsonl file with an object of these on each line."
        )
    return str(data.line())


def _asked_of(data: Any, fields: Sequence[str]) -> list[str]:
    return [name for name in fields if name not in data.LABELS]


def _like(data: Any, path: str) -> RowSource:
    """Gives the reader of a file by its ending; that of the training rows, where it is of its kind.

    What was set for the training rows (a delimiter, a column) is right for these as well.
    """
    train: Any = data.train
    named = isinstance(train, RowSource) and hasattr(train, "paths")
    reader: Any = copy.copy(train) if named else rows_from(path)
    if named and _is_known(path) and not isinstance(train, type(rows_from(path))):
        reader = rows_from(path)
    elif named:
        reader.paths = path
    if isinstance(reader, Conll):
        reader.tagged = False
    if isinstance(reader, Squad):
        reader.answered = False
    assert isinstance(reader, RowSource)
    return reader


def _is_known(path: str) -> bool:
    try:
        rows_from(path)
    except ConfigError:
        return False
    return True
