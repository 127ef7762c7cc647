"""Stage and Pass: the two kinds of parts that a pipeline has.

A Stage decides about one document and knows of no other, so it runs in any process, in any order.
A Pass needs all of them (duplicates, contamination), so what came before it is put on disk first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

from roots.corpus.splitters import splitter_version
from roots.records import Document, Verdict

A = TypeVar("A")
B = TypeVar("B")


class Part(ABC):  # noqa: B024 - whoever looks for parts needs not know the two kinds
    """A part of a pipeline; its class name is its name in the books."""

    @property
    def name(self) -> str:
        """What the books call it."""
        return type(self).__name__

    @property
    def version(self) -> int:
        """Goes up when the same settings would decide otherwise: folders are then built anew.

        Of a part that takes `words` it is the version of that splitter, if not said otherwise.
        """
        return splitter_version(getattr(self, "words", None))

    def check(self) -> None:
        """Looks whether all that it needs is there, before anything is read.

        Raises:
            MissingExtra: An optional package is not installed.
            DataError: A file of its own is missing.
        """
        self.files()

    def files(self) -> list[Path]:
        """Lists the files that it reads beside the documents: when they change, all is done anew.

        Raises:
            DataError: One is missing.
        """
        return []


class Stage(Part):
    """A pure function of one document: what it is given decides alone what it answers."""

    @abstractmethod
    def __call__(self, document: Document) -> Verdict:
        """Decides about a document.

        Args:
            document: Its text is never blank: blank ones are dropped before, as `empty`.

        Returns:
            Keep, Drop with the rule that decided, or Edit with what goes on.
        """

    def redact(self, text: str) -> str:
        """Takes out of a text what must not be written anywhere, examples of drops included."""
        return text


class OrderedMap(Protocol):
    """Applies a function to items, in any number of processes, and yields the results in order.

    The built-in `map` is one. One with processes reads only a few items ahead, because the items
    are a whole corpus; the function and the items that it is given can be pickled.
    """

    def __call__(self, function: Callable[[A], B], items: Iterable[A], /) -> Iterable[B]:
        """Yields `function(item)` for each item, in order."""


class Pass(Part):
    """Decides about every document with all of them in view."""

    findings: ClassVar[tuple[str, ...]] = ()
    """The files that `decide` leaves in `scratch` for the reader; they end beside the shards."""

    quotes: ClassVar[tuple[str, ...]] = ()
    """The keys in its findings (JSON lines) whose values are text of documents."""

    @abstractmethod
    def decide(
        self,
        documents: Callable[[], Iterator[Document]],
        scratch: Path,
        ordered_map: OrderedMap = map,
    ) -> Iterator[Verdict]:
        """Streams one verdict per document, in their order; the same for every `ordered_map`.

        Args:
            documents: Gives a new stream of the same documents each time that it is called.
            scratch: An empty folder for what does not fit in memory. When the last verdict is read,
                `findings` are taken out of it and the rest is removed.
            ordered_map: Spreads the work on texts over processes.

        Raises:
            DataError: Two streams gave different documents.
        """
