"""Documents in blocks, mapped in order; two readings of a corpus that must be equal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from roots.corpus.stage import OrderedMap
from roots.errors import DataError
from roots.records import Document

T = TypeVar("T")
R = TypeVar("R")

_MAX_DOCUMENTS = 1024
_MAX_CHARACTERS = 2**22


class Reading:
    """Reads a corpus again and again, and notices when it is not the same.

    Args:
        documents: Gives a new stream of the documents each time that it is called.
    """

    def __init__(self, documents: Callable[[], Iterator[Document]]) -> None:
        self._documents = documents
        self._first: tuple[int, int | None] | None = None

    def blocks(self) -> Iterator[list[Document]]:
        """Yields the documents in lists of bounded size.

        Raises:
            DataError: The documents are not those of the reading before.
        """
        n_documents = checksum = n_characters = 0
        block: list[Document] = []
        for document in self._documents():
            n_documents += 1
            n_characters += len(document.text)
            checksum = hash((checksum, document.id, len(document.text)))
            block.append(document)
            if len(block) >= _MAX_DOCUMENTS or n_characters >= _MAX_CHARACTERS:
                self._check(n_documents)
                yield block
                block, n_characters = [], 0
        self._check(n_documents)
        if block:
            yield block
        self._check(n_documents, checksum)

    def _check(self, n_documents: int, checksum: int | None = None) -> None:
        """Compares with the first reading: on the way not more documents, at the end the same."""
        ended = checksum is not None
        if self._first is None:
            self._first = (n_documents, checksum) if ended else None
            return
        before, _ = self._first
        if self._first != (n_documents, checksum) if ended else n_documents > before:
            raise DataError(
                f"The first reading of the corpus gave {before:,} documents, and the second"
                f" {n_documents:,}{'' if ended else ' or more'}, or some with other ids or lengths."
                " The files changed meanwhile, or the source gives no fixed order. Run again on"
                " files that nobody writes to."
            )


def mapped(
    items: Iterable[T],
    texts_of: Callable[[T], list[str]],
    function: Callable[[list[str]], R],
    ordered_map: OrderedMap = map,
) -> Iterator[tuple[T, R]]:
    """Yields each item with what `function` makes of its texts.

    Args:
        items: Such as blocks of documents.
        texts_of: Gives the texts of an item.
        function: Takes them; it is what runs in other processes.
        ordered_map: Applies it.
    """
    waiting: deque[T] = deque()

    def texts() -> Iterator[list[str]]:
        for item in items:
            waiting.append(item)
            yield texts_of(item)

    for result in ordered_map(function, texts()):
        yield waiting.popleft(), result


def all_texts(documents: Iterable[Document]) -> list[str]:
    """Lists the texts of documents."""
    return [document.text for document in documents]
