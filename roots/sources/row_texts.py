"""RowTexts: a column of labelled rows as documents, for pretraining on what is fine-tuned later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from roots.errors import DataError
from roots.records import BadRow, Document, Row
from roots.sources.rows import Columns, HasText, RowSource, rows_from
from roots.sources.source import Source


class RowTexts(Source):
    """Takes one column of a table: every row is a document. Its labels are not read.

    Args:
        rows: Files, globs and folders of one kind (csv, tsv, jsonl, json, parquet, …), or a reader
            of rows.
        column: The column that holds the texts.
    """

    def __init__(self, *, rows: str | list[str] | RowSource, column: str = "text") -> None:
        self.rows = rows
        self.column = column

    def files(self) -> list[Path]:
        """Lists the files that the rows are read from."""
        return rows_from(self.rows).files()

    def documents(self) -> Iterator[Document]:
        """Streams the texts in the order of the rows.

        Raises:
            DataError: A row cannot be read, lacks the column, or holds something else in it. An
                empty text is a document, which a corpus drops and counts.
        """
        for row in rows_from(self.rows).read():
            found = self._taken(row) if isinstance(row, Row) else row
            if isinstance(found, BadRow):
                raise DataError(found.message)
            yield Document(text=str(found.fields["text"]), id=found.where)

    def _taken(self, row: Row) -> Row | BadRow:
        found = Columns({"text": self.column}, fields=["text"])(row)
        if isinstance(found, BadRow) or isinstance(found.fields["text"], str):
            return found
        return HasText("text")(found)
