"""Source: the one face that a corpus knows of whatever holds text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from roots.records import Document


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

    @abstractmethod
    def files(self) -> list[Path]:
        """Lists the files that `documents()` reads, sorted; nothing is opened.

        Raises:
            DataError: A file is missing, or there is none.
        """
