"""StageList: the stages of a pipeline, in the hands of an engine that streams the documents."""

from __future__ import annotations

from collections.abc import Sequence

from roots.corpus.books import EMPTY, Books
from roots.corpus.pipeline import Pipeline
from roots.corpus.stage import Part, Pass
from roots.corpus.staging import Dropped, through
from roots.errors import ConfigError
from roots.records import KEEP, Document, class_path

DOCUMENTS = "documents"
"""The source, in the books, of documents that name none."""


class StageList:
    """Decides about one document after another, as `Pipeline.run` does.

    Args:
        stages: In their order; or a pipeline.

    Raises:
        ConfigError: A part of it is a pass, which needs all documents at once.
    """

    def __init__(self, stages: Sequence[Part] | Pipeline) -> None:
        self.pipeline = stages if isinstance(stages, Pipeline) else Pipeline(stages)
        for part in self.pipeline.parts:
            if isinstance(part, Pass):
                raise ConfigError(
                    f"{class_path(type(part))} needs all documents, and an engine hands out a few"
                    " at a time. Leave it out here: near duplicates are removed over all tasks by"
                    " roots.corpus.engines.NearDuplicateSteps, and `roots corpus` runs any pass on"
                    " what comes out."
                )

    def check(self) -> None:
        """Looks whether all that the stages need is there.

        Raises:
            MissingExtra: An optional package is not installed.
        """
        self.pipeline.check()

    def books(self) -> Books:
        """Opens new books."""
        return Books(self.pipeline.names, source=DOCUMENTS)

    def decide(self, document: Document, books: Books) -> Document | Dropped:
        """Asks all stages about a document.

        Args:
            document: Any; a blank one is dropped as `empty`.
            books: Those of this list.

        Returns:
            What goes on, or why nothing does.
        """
        if not document.text or document.text.isspace():
            books.enter(0, document, EMPTY)
            return Dropped(0, EMPTY, document)
        books.enter(0, document, KEEP)
        return through(self.pipeline.stages, document, books, first=1)

    def redact(self, text: str) -> str:
        """Takes out of a text what the stages would."""
        return self.pipeline.redact(text)
