"""CorpusPass, the face of what must see the whole corpus; a Verdict, its word on a document."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

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


@dataclass(frozen=True, slots=True)
class Keep:
    """The verdict that a document stays as it is.

    Args:
        counts: What was seen in it, for the books.
    """

    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drop:
    """The verdict that a document is left out.

    Args:
        reason: The name of the rule, under which it is counted: `near_duplicate`.
        detail: What was found, for the reader: `Jaccard 0.9123 with pages.jsonl:7`.
    """

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Edit:
    """The verdict that a document goes on with another text.

    Args:
        document: What goes on.
        counts: How often which kind of change was made, for the books.
    """

    document: Document
    counts: Mapping[str, int] = field(default_factory=dict)


Verdict = Keep | Drop | Edit
KEEP = Keep()


class CorpusPass(ABC):
    """Decides on each document by what all of them hold.

    A base class, so that a list of passes in a configuration has a type.
    """

    findings: ClassVar[tuple[str, ...]] = ()
    """The files that `decide` leaves in `scratch` for the reader."""

    @abstractmethod
    def decide(
        self,
        documents: Callable[[], Iterator[Document]],
        scratch: Path,
        ordered_map: OrderedMap = map,
    ) -> Iterator[Verdict]:
        """Streams one verdict per document, in their order; the same for every `ordered_map`.

        Args:
            documents: Gives a new stream of the same documents each time that it is called, which
                is up to twice.
            scratch: A folder for what does not fit in memory. When the last verdict is read, only
                `findings` are left in it.
            ordered_map: Spreads the work on texts over processes.

        Raises:
            DataError: The second stream gave other documents than the first.
        """
