"""Source: the one face that a corpus knows of whatever holds text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from roots.records import Document, Reject


class Source(ABC):
    """Streams documents; the same files give the same documents in the same order."""

    n_replaced: int = 0
    """How many undecodable places became U+FFFD in the latest pass over `documents()`."""

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """Streams the documents, and counts `n_replaced` anew.

        Raises:
            DataError: A file is missing, damaged or not text.
        """

    def records(self) -> Iterator[Document | Reject]:
        """Streams the documents, and between them what could not become one.

        Raises:
            DataError: A file is missing or damaged, or more is rejected than is allowed.
        """
        return self.documents()

    @abstractmethod
    def files(self) -> list[Path]:
        """Lists the files that `documents()` reads, sorted; nothing is opened.

        Raises:
            DataError: A file is missing, or there is none.
        """
