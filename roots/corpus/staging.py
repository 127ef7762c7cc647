"""A run of stages over a batch of documents: the job of a worker that decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from roots.corpus.books import EMPTY, Books
from roots.corpus.stage import Stage
from roots.errors import DataError, RootsError
from roots.records import Document, Drop, Edit, Verdict, class_path

EXAMPLES_PER_REASON = 3
EXAMPLE_CHARACTERS = 400
_LOOKED_AT = 2**13  # characters of which that much is shown: what is cut in half has no form


@dataclass(frozen=True)
class Example:
    """A document that was dropped, for the reader.

    Args:
        part: Which part of the pipeline dropped it, counted from 0.
        reason: The rule.
        detail: What was found, what is allowed.
        id: The document's.
        source: The document's.
        text: How it begins, without what the pipeline takes out.
    """

    part: int
    reason: str
    detail: str
    id: str
    source: str
    text: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """That a document goes no further.

    Args:
        part: The row in the books of the stage that dropped it.
        drop: Why.
        document: The document as it came into that stage.
    """

    part: int
    drop: Drop
    document: Document


@dataclass
class Staged:
    """What became of a batch.

    Args:
        outcomes: For each document what goes on: another document, itself (True), none (False).
        books: A row per stage.
        examples: The first few per stage and reason.
    """

    outcomes: list[Document | bool]
    books: Books
    examples: list[Example] = field(default_factory=list)


@dataclass(frozen=True)
class RunStages:
    """The job of a worker that decides.

    Args:
        stages: In their order.
        first: Which part of the pipeline the first of them is.
        redact: Takes out of an example what must not be written.
    """

    stages: tuple[Stage, ...]
    first: int
    redact: tuple[Stage, ...] = ()

    def open(self) -> Callable[[list[Document]], Staged]:
        """Looks whether all that the stages need is there."""
        for stage in self.stages:
            stage.check()
        return self.run

    def failed(self, documents: list[Document], why: str) -> str:
        """Names the batch by its first document."""
        return (
            f"A batch of {len(documents):,} documents from {documents[0].id} on was not decided:"
            f" {why}. Run with workers: 1 for the whole trace."
        )

    def run(self, documents: list[Document]) -> Staged:
        """Decides about every document, and enters it."""
        names = [stage.name for stage in self.stages]
        staged = Staged(outcomes=[], books=Books(names))
        examples = Examples(self.redact)
        for document in documents:
            outcome = through(self.stages, document, staged.books)
            if isinstance(outcome, Dropped):
                examples.offer(self.first + outcome.part, outcome.document, outcome.drop)
                staged.outcomes.append(False)
            else:
                staged.outcomes.append(outcome if outcome is not document else True)
        staged.examples = examples.taken
        return staged


class Examples:
    """The first few dropped documents of every part and reason.

    Args:
        redact: The stages that take out of a text what must not be written.
    """

    def __init__(self, redact: Sequence[Stage]) -> None:
        self.redact = redact
        self.taken: list[Example] = []
        self._counts: Counter[tuple[int, str]] = Counter()

    def offer(self, part: int, document: Document, drop: Drop) -> None:
        """Takes a dropped document, unless there are enough of its kind."""
        if self._counts[part, drop.reason] >= EXAMPLES_PER_REASON:
            return
        text, detail = self._shown(document.text), self._shown(drop.detail)
        self.take(Example(part, drop.reason, detail, document.id, document.source, text))

    def _shown(self, text: str) -> str:
        """Takes out what must not be written, and cuts the rest."""
        text = text[:_LOOKED_AT]
        for stage in self.redact:
            text = stage.redact(text)
        return text[:EXAMPLE_CHARACTERS]

    def take(self, example: Example) -> None:
        """Takes an example, unless there are enough of its kind."""
        self._counts[example.part, example.reason] += 1
        if self._counts[example.part, example.reason] <= EXAMPLES_PER_REASON:
            self.taken.append(example)

    def in_order(self) -> list[Example]:
        """Sorts them by part and reason; within these the order of the documents stays."""
        return sorted(self.taken, key=lambda each: (each.part, each.reason))


def through(
    stages: Sequence[Stage], document: Document, books: Books, first: int = 0
) -> Document | Dropped:
    """Asks one stage after another about a document, and enters what each says.

    Args:
        stages: In their order.
        document: Not blank.
        books: Have a row for each of the stages.
        first: The row of the first of them.

    Returns:
        What goes out of the last one, or that one dropped it.
    """
    for part, stage in enumerate(stages, first):
        verdict = decided(stage, document)
        books.enter(part, document, verdict)
        if isinstance(verdict, Drop):
            return Dropped(part, verdict, document)
        if isinstance(verdict, Edit):
            document = verdict.document
    return document


def decided(stage: Stage, document: Document) -> Verdict:
    """Asks a stage.

    Raises:
        DataError: The stage raised an error; it is named with the document.
    """
    try:
        verdict = stage(document)
    except RootsError:
        raise
    except Exception as error:
        raise DataError(
            f"{class_path(type(stage))} failed on document {document.id}, which begins"
            f" {document.text[:60]!r}: {type(error).__name__}: {error}. Mend the stage; it must"
            " take any text that is not blank."
        ) from error
    return settled(document, verdict)


def settled(document: Document, verdict: Verdict) -> Verdict:
    """Drops a text that became blank as `empty`, and keeps name and source of an edited one."""
    if not isinstance(verdict, Edit):
        return verdict
    text = verdict.document.text
    if not text or text.isspace():
        return EMPTY
    if (verdict.document.id, verdict.document.source) == (document.id, document.source):
        return verdict
    kept = replace(verdict.document, id=document.id, source=document.source)
    return Edit(kept, verdict.counts)
