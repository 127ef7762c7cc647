"""Stage and Pass: the two kinds of parts that a pipeline has.

A Stage decides about one document and knows of no other, so it runs in any process, in any order.
A Pass needs all of them (duplicates, contamination), so what came before it is put on disk first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

from roots.records import Document, Verdict


class Part(ABC):  # noqa: B024 - whoever looks for parts needs not know the two kinds
    """A part of a pipeline; its class name is its name in the books."""

    @property
    def name(self) -> str:
        """What the books call it."""
        return type(self).__name__

    def check(self) -> None:
        """Looks whether all that it needs is there, before anything is read.

        Raises:
            MissingExtra: An optional package is not installed.
        """


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


class Pass(Part):
    """Decides about every document with all of them in view."""

    @abstractmethod
    def decide(
        self, documents: Callable[[], Iterator[Document]], scratch: Path
    ) -> Iterator[Verdict]:
        """Streams one verdict per document, in their order.

        Args:
            documents: Gives a new stream of all documents, as often as it is called.
            scratch: An empty folder for what does not fit in memory; removed afterwards.
        """
