"""Documents in blocks: mapped in order, noted in parts; two readings that must be equal."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from roots.corpus.noted_parts import Parts
from roots.corpus.stage import OrderedMap
from roots.errors import DataError
from roots.records import Document

T = TypeVar("T")
R = TypeVar("R")

BLOCKS_PER_PART = 64
"""So much work of a step is lost when it is killed."""
_MAX_DOCUMENTS = 1024
_MAX_CHARACTERS = 2**22


class Block(NamedTuple):
    """Documents that follow each other.

    Args:
        number: Of the block, from 0.
        first: The number of its first document.
        documents: One or more.
    """

    number: int
    first: int
    documents: list[Document]

    @property
    def end(self) -> int:
        """The number of the document behind its last one."""
        return self.first + len(self.documents)

    def texts(self) -> list[str]:
        """Lists the texts."""
        return [document.text for document in self.documents]


class Reading:
    """Reads a corpus again and again, and notices when it is not the same.

    Args:
        documents: Gives a new stream of the documents each time that it is called.
    """

    def __init__(self, documents: Callable[[], Iterator[Document]]) -> None:
        self._documents = documents
        self._first: tuple[int, int | None] | None = None

    def blocks(self) -> Iterator[Block]:
        """Yields the documents in blocks of bounded size, always the same.

        Raises:
            DataError: The documents are not those of the reading before.
        """
        number = first = n_documents = checksum = n_characters = 0
        block: list[Document] = []
        for document in self._documents():
            n_documents += 1
            n_characters += len(document.text)
            checksum = hash((checksum, document.id, len(document.text)))
            block.append(document)
            if len(block) >= _MAX_DOCUMENTS or n_characters >= _MAX_CHARACTERS:
                self._check(n_documents)
                yield Block(number, first, block)
                number, first = number + 1, n_documents
                block, n_characters = [], 0
        self._check(n_documents)
        if block:
            yield Block(number, first, block)
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


def write_parts(
    parts: Parts,
    blocks: Iterable[Block],
    function: Callable[[list[str]], R],
    write: Callable[[Block, R], None],
    ordered_map: OrderedMap = map,
) -> None:
    """Writes what `function` makes of the texts of each block, but for the parts that are there.

    Args:
        parts: Of the step; their number of documents is noted.
        blocks: All of them.
        function: Takes the texts of a block; it is what runs in other processes.
        write: Adds to the files of the step.
        ordered_map: Applies the function.
    """
    left = islice(blocks, parts.n * BLOCKS_PER_PART, None)
    end = _Ends(parts)
    for block, result in mapped(left, Block.texts, function, ordered_map):
        write(block, result)
        end.of(block)
    end.of_all()


def noted(
    parts: Parts,
    blocks: Iterable[Block],
    make: Callable[[Iterator[Block]], Iterator[tuple[Block, Any]]],
    again: Callable[[Block, Any], object] | None = None,
) -> Iterator[tuple[Block, Any]]:
    """Yields each block with what is decided about it, which is not made again when it is noted.

    Args:
        parts: Of the step; their first file gets a line of JSON per block.
        blocks: All of them.
        make: Yields each block that it is given with plain values.
        again: Told of each block whose values are there.
    """
    left = iter(blocks)
    with parts.files[0].path.open(encoding="utf-8") as lines:
        for block in islice(left, parts.n * BLOCKS_PER_PART):
            result = json.loads(lines.readline())
            if again is not None:
                again(block, result)
            yield block, result
    end = _Ends(parts)
    for block, result in make(left):
        parts.files[0].write(json.dumps(result).encode() + b"\n")
        end.of(block)
        yield block, result
    end.of_all()


class _Ends:
    """Notes a part when its last block is written, before anybody makes anything of the next."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._n_documents = 0

    def of(self, block: Block) -> None:
        """Tells of a block that is written."""
        self._n_documents = block.end
        if (block.number + 1) % BLOCKS_PER_PART == 0:
            self._note()

    def of_all(self) -> None:
        """Tells that there are no more."""
        if self._n_documents:
            self._note()

    def _note(self) -> None:
        self._parts.note(documents=self._n_documents)
        self._n_documents = 0
