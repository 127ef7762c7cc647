"""DecidingStep: a step of datatrove that decides about documents, and keeps books of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from roots.corpus.books import Books
from roots.corpus.engines.datatrove_parts import (
    DiskWriter,
    DocumentsPipeline,
    PipelineStep,
    TheirDocument,
)
from roots.corpus.engines.engine_folder import EngineFolder
from roots.corpus.engines.rank_books import write_books
from roots.corpus.staging import Dropped
from roots.errors import ConfigError
from roots.records import Document

Decide = Callable[[Document], Document | Dropped]


class DecidingStep(PipelineStep):
    """Takes each document of a task through `opened`'s function.

    datatrove's own statistics say the same as the books: `total`, `forwarded`, `dropped`, and
    `dropped_<part>_<reason>`; at the end of a task also what the parts edited and counted.

    Args:
        books: A folder for the books of this run alone.
        source_key: The key of a document's metadata that names its source in the books.
        exclusion_writer: Given the documents that are dropped, with `filter_step`, `filter_reason`
            and `filter_detail` in their metadata and without what `redact` takes out.
    """

    type = "Filter"

    def __init__(
        self, *, books: str | Path, source_key: str, exclusion_writer: DiskWriter | None
    ) -> None:
        super().__init__()
        self.books = EngineFolder(books)
        self.source_key = source_key
        self.exclusion_writer = exclusion_writer

    @abstractmethod
    def opened(self, books: Books, rank: int, world_size: int) -> AbstractContextManager[Decide]:
        """Loads what a task needs, and gives what decides about a document and enters it.

        It is closed when all documents of the task were decided, before the books are written.
        """

    @property
    @abstractmethod
    def deciding(self) -> Sequence[Any]:
        """What decides: books of others are not added to those of this run."""

    @abstractmethod
    def new_books(self) -> Books:
        """Opens the books of a task."""

    def redact(self, text: str) -> str:
        """Takes out of a text what must not be written."""
        return text

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Yields what goes on; the books are written when all documents of the task were decided.

        A writer behind this step closes its file after that: books are no proof that it did.
        """
        if data is None:
            raise ConfigError(
                f"{type(self).__name__} is the first step of its pipeline and has no documents."
                " Put a reader before it, such as datatrove's JsonlReader."
            )
        books = self.new_books()
        with (
            self.opened(books, rank, world_size) as decide,
            self.exclusion_writer or nullcontext() as writer,
        ):
            for document in data:
                with self.track_time():
                    outcome = decide(self._ours(document))
                    goes_on = self._settle(document, outcome, books, writer, rank)
                if goes_on:
                    yield document
        self._count(books)
        write_books(self.books, books, rank, world_size, self.deciding)

    def _ours(self, document: TheirDocument) -> Document:
        source = str(document.metadata.get(self.source_key) or "")
        return Document(document.text, str(document.id), document.metadata, source)

    def _settle(
        self,
        document: TheirDocument,
        outcome: Document | Dropped,
        books: Books,
        writer: DiskWriter | None,
        rank: int,
    ) -> bool:
        """Takes over what was decided; tells whether the document goes on."""
        self.stat_update("total")
        if isinstance(outcome, Document):
            document.text, document.metadata = outcome.text, dict(outcome.metadata)
            self.stat_update("forwarded")
            self.update_doc_stats(document)
            return True
        part, drop = books.names[outcome.part], outcome.drop
        self.stat_update("dropped", f"dropped_{part}_{drop.reason}")
        if writer is not None:
            document.text = self.redact(outcome.document.text)
            document.metadata = dict(outcome.document.metadata) | {
                "filter_step": part,
                "filter_reason": drop.reason,
                "filter_detail": self.redact(drop.detail),
            }
            writer.write(document, rank)
        return False

    def _count(self, books: Books) -> None:
        for part, name in enumerate(books.names):
            row = books.of(part)
            counts = {f"{name}: {kind}": n for kind, n in sorted(row.counted.items())}
            for label, n in ({f"{name}: edited": row.documents_edited} | counts).items():
                if n:
                    self.stat_update(label, value=n, unit="task")
