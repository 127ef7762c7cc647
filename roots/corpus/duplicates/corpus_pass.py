"""CorpusPass, the face of what must see the whole corpus; Decision, its word on a document."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from roots.records import Document

A = TypeVar("A")
B = TypeVar("B")


class OrderedMap(Protocol):
    """Applies a function to items, in any number of processes, and yields the results in order.

    The built-in `map` is one. One with processes must read only a few items ahead, because the
    items are a whole corpus; functions and items that it is given can be pickled.
    """

    def __call__(self, function: Callable[[A], B], items: Iterable[A], /) -> Iterable[B]:
        """Yields `function(item)` for each item, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a pass says of one document.

    Args:
        document: The document as it goes on; of a dropped one, as it came.
        dropped: The reason why it goes no further; empty when it is kept.
        edits: How often each kind of edit was made to its text.
        because: What the decision rests on, in plain values, such as the id of the kept copy.
    """

    document: Document
    dropped: str = ""
    edits: Mapping[str, int] = field(default_factory=dict)
    because: Mapping[str, object] = field(default_factory=dict)


class CorpusPass(ABC):
    """Decides on each document by what all of them hold.

    A base class, so that a list of passes in a configuration has a type.
    """

    @abstractmethod
    def decide(
        self, documents: Iterable[Document], folder: Path, ordered_map: OrderedMap = map
    ) -> Iterator[Decision]:
        """Yields a decision per document, in their order; it is the same for every `ordered_map`.

        Args:
            documents: Gives the same documents each time that it is iterated over; a list, or an
                object whose `__iter__` starts anew. It is read up to two times.
            folder: Where findings are written, and temporary files, gone at the end; it exists.
            ordered_map: Spreads the work on texts over processes.

        Raises:
            DataError: The second reading gave other documents than the first.
            TypeError: `documents` is an iterator, which can be read only once.
        """
