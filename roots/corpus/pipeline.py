"""Pipeline: a list of stages and passes, run over a source; the books tell what became of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import cached_property
from itertools import chain, islice, zip_longest
from pathlib import Path

from roots.corpus.books import EMPTY, READ, Books
from roots.corpus.noted_pass import PassNotes
from roots.corpus.passing import take_findings, verdicts_of
from roots.corpus.pool import choose_workers, map_in_order
from roots.corpus.segments import Segment, segments
from roots.corpus.spool import Spool
from roots.corpus.stage import Part, Pass, Stage
from roots.corpus.staging import Example, Examples, RunStages, settled
from roots.errors import ConfigError, DataError
from roots.records import KEEP, Document, Drop, Edit, Reject, Verdict, class_path
from roots.sources import Source

BATCH_CHARACTERS = 2**18
_CHARACTERS_PER_DOCUMENT = 64  # what a document costs beside its text, so that batches stay small


class Pipeline:
    """Runs stages and passes over documents, in their order.

        run = Pipeline([Normalise(), GopherQuality()]).run(Jsonl(paths="pages.jsonl"))
        for document in run: ...
        print(run.books)

    Args:
        parts: Stages (one document at a time) and passes (all of them).

    Raises:
        ConfigError: Something in the list is neither.
    """

    def __init__(self, parts: Sequence[Part] = ()) -> None:
        for part in parts:
            if not isinstance(part, (Stage, Pass)):
                raise ConfigError(
                    f"{part!r} is neither a Stage nor a Pass. Give objects such as"
                    " roots.corpus.Normalise(), or a class of your own that is a Stage."
                )
        self.parts = tuple(parts)

    @property
    def names(self) -> list[str]:
        """The names of the rows of its books: the source, then every part."""
        return [READ, *(part.name for part in self.parts)]

    def check(self) -> None:
        """Looks whether all that the parts need is there.

        Raises:
            MissingExtra: An optional package is not installed.
        """
        for part in self.parts:
            part.check()

    def files(self) -> list[Path]:
        """Lists the files that the parts read beside the documents."""
        return [path for part in self.parts for path in part.files()]

    def run(
        self,
        source: Source | Iterable[Document],
        *,
        workers: int = 1,
        limit: int | None = None,
        scratch: Path | None = None,
        findings: Path | None = None,
        on_reject: Callable[[Reject], None] | None = None,
    ) -> Run:
        """Prepares a run; it goes as far as its documents are asked for.

        Args:
            source: Where the documents come from.
            workers: Processes that run the stages; 0 is one per core, as far as there is text for
                it and the stages are classes of a module. What comes out does not depend on it.
            limit: Take only so many documents of the source.
            scratch: A folder for what a pass puts on disk; a temporary one by default.
            findings: A folder for what the passes found; without one it is not kept.
            on_reject: Told of every record that could not become a document.

        Raises:
            ConfigError: Several workers for a stage that is not in a module.
            MissingExtra: An optional package is not installed.
        """
        self.check()
        return Run(
            pipeline=self,
            source=source,
            workers=self._workers(workers, source),
            limit=limit,
            scratch=scratch,
            findings=findings,
            on_reject=on_reject or _forget,
        )

    def redact(self, text: str) -> str:
        """Takes out of a text what its stages would, for what is written beside the shards."""
        for stage in self.stages:
            text = stage.redact(text)
        return text

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The parts that decide about one document at a time."""
        return tuple(part for part in self.parts if isinstance(part, Stage))

    def _workers(self, workers: int, source: Source | Iterable[Document]) -> int:
        local = [part for part in self.parts if type(part).__module__ == "__main__"]
        if local and workers > 1:
            raise ConfigError(
                f"workers={workers}: {class_path(type(local[0]))} is written in the script or"
                " notebook itself, which other processes cannot import. Move it to a module (a .py"
                " file), or set workers to 1."
            )
        if workers or not isinstance(source, Source):
            return max(workers, 1)
        n_bytes = 0 if local else sum(path.stat().st_size for path in source.files())
        return choose_workers(0, n_bytes)


class Run:
    """One run of a pipeline: iterate over it for the documents that are kept.

    Attributes:
        books: What became of the documents that have been streamed so far; each iteration reads
            the source anew and opens new books.
        found: The names of the files in `findings`; each iteration writes further ones.
    """

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        source: Source | Iterable[Document],
        workers: int,
        limit: int | None,
        scratch: Path | None,
        findings: Path | None,
        on_reject: Callable[[Reject], None],
    ) -> None:
        self.pipeline = pipeline
        self.source = source
        self.workers = workers
        self.limit = limit
        self.scratch = scratch
        self.findings = findings
        self.found: list[str] = []
        self.on_reject = on_reject
        name = type(source).__name__ if isinstance(source, Source) else "documents"
        self.books = Books(pipeline.names, source=name)
        self._examples = Examples(pipeline.stages)

    @property
    def examples(self) -> list[Example]:
        """The first few dropped documents of every part and reason."""
        return self._examples.in_order()

    def __iter__(self) -> Iterator[Document]:
        self.begin()
        first, *others = segments(self.pipeline.parts)
        stream = self.staged(first, self.read())
        for segment in others:
            stream = self.staged(segment, self._through_pass(segment, stream))
        return stream

    def begin(self, books: Books | None = None, examples: Iterable[Example] = ()) -> None:
        """Opens new books, or goes on with those of a run that was broken off."""
        self.books = books or Books(self.pipeline.names, source=self.books.source)
        self._examples = Examples(self.pipeline.stages)
        self.take(examples)

    def take(self, examples: Iterable[Example]) -> None:
        """Takes examples of drops."""
        for example in examples:
            self._examples.take(example)

    def staged(self, segment: Segment, stream: Iterator[Document]) -> Iterator[Document]:
        """Runs the stages of a segment, if it has any."""
        return chain.from_iterable(self.batches(segment, stream)) if segment.stages else stream

    def batches(
        self, segment: Segment, stream: Iterator[Document], done: int = 0
    ) -> Generator[list[Document]]:
        """Runs the stages of a segment; yields of each batch what goes on.

        Args:
            segment: It has stages.
            stream: What comes into the first of them. The same documents fall into the same
                batches, whoever decides about them.
            done: So many batches are left out, because they were decided before.
        """
        job = RunStages(segment.stages, segment.first_stage, redact=self.pipeline.stages)
        left = islice(_batches(stream), done, None)
        with closing(map_in_order(left, _itself, job, self.workers)) as batches:
            for batch, staged in batches:
                self.books.add(staged.books, segment.first_stage)
                self.take(staged.examples)
                yield list(_going_on(batch, staged.outcomes))

    def read(self) -> Generator[Document]:
        """Streams the documents of the source, without the blank ones."""
        for document in islice(self._documents(), self.limit):
            if document.text and not document.text.isspace():
                self.books.enter(0, document, KEEP)
                yield document
            else:
                self.books.enter(0, document, EMPTY)
                self._examples.offer(0, document, EMPTY)

    def _documents(self) -> Iterator[Document]:
        if not isinstance(self.source, Source):
            yield from self.source
            return
        for record in self.source.records():
            if isinstance(record, Reject):
                self.on_reject(record)
            else:
                yield record

    def _through_pass(self, segment: Segment, stream: Iterator[Document]) -> Iterator[Document]:
        with tempfile.TemporaryDirectory(dir=self.scratch, prefix="pass-") as folder:
            spool = Spool(path=Path(folder) / "documents")
            with spool.writer() as writer:
                for document in stream:
                    writer.add(document)
            scratch = Path(folder) / "scratch"
            scratch.mkdir()
            yield from self.decided(segment, spool, scratch)

    def decided(
        self, segment: Segment, spool: Spool, scratch: Path, notes: PassNotes | None = None
    ) -> Generator[Document]:
        """Streams what the pass of a segment keeps, and takes its findings at the end."""
        part, index = segment.part, segment.first
        assert part is not None
        given = verdicts_of(part, spool.documents, scratch, self.workers, notes)
        with closing(given) as verdicts:
            for document, verdict in _paired(part, spool.documents(), verdicts):
                self.books.enter(index, document, verdict)
                if isinstance(verdict, Drop):
                    self._examples.offer(index, document, verdict)
                else:
                    yield verdict.document if isinstance(verdict, Edit) else document
        if self.findings is not None:
            self.found += take_findings(part, scratch, self.findings, self.pipeline.redact)


def _paired(
    part: Pass, documents: Iterator[Document], verdicts: Iterator[Verdict]
) -> Iterator[tuple[Document, Verdict]]:
    for document, given in zip_longest(documents, verdicts):
        if document is None or given is None:
            raise DataError(
                f"{class_path(type(part))} gave {'more' if document is None else 'fewer'}"
                " verdicts than there are documents. Have it yield one for each, in order."
            )
        yield document, settled(document, given)


def _batches(stream: Iterator[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    n_characters = 0
    for document in stream:
        batch.append(document)
        n_characters += len(document.text) + _CHARACTERS_PER_DOCUMENT
        if n_characters >= BATCH_CHARACTERS:
            yield batch
            batch, n_characters = [], 0
    if batch:
        yield batch


def _going_on(batch: list[Document], outcomes: list[Document | bool]) -> Iterator[Document]:
    for document, outcome in zip(batch, outcomes, strict=True):
        if isinstance(outcome, Document):
            yield outcome
        elif outcome:
            yield document


def _itself(batch: list[Document]) -> list[Document]:
    return batch


def _forget(reject: Reject) -> None:
    del reject
