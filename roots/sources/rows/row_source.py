"""RowSource: the one face that a fine-tuning set knows of whatever holds labelled rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from roots.errors import DataError
from roots.records import BadRow, Row


class RowSource(ABC):
    """Streams rows; the same files give the same rows in the same order."""

    @abstractmethod
    def read(self) -> Iterator[Row | BadRow]:
        """Streams what the files hold: a row that cannot be read comes in its place as a `BadRow`.

        So one bad row never loses those behind it.

        Raises:
            DataError: A file is missing or damaged as a whole.
        """

    @abstractmethod
    def files(self) -> list[Path]:
        """Lists the files that `read()` reads, sorted; nothing is opened.

        Raises:
            DataError: A file is missing, or there is none.
        """

    def rows(self) -> Iterator[Row]:
        """Streams the rows, all of which must be readable.

        Raises:
            DataError: A row is not, or a file is missing or damaged.
        """
        for row in self.read():
            if isinstance(row, BadRow):
                raise DataError(row.message)
            yield row
