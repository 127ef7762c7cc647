"""What a build takes in: the documents of the source, or what a pipeline lets through."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from roots.corpus.books import Books
from roots.corpus.journal import Journal
from roots.corpus.pipeline import Pipeline
from roots.corpus.progress import Progress
from roots.corpus.spooling import spooled
from roots.corpus.staging import Example
from roots.corpus.survey import Fingerprint, documents_and_bytes
from roots.records import Document, Reject
from roots.sources import Source

DROPPED = "dropped.jsonl"
REJECTS = "rejects.jsonl"
_LARGEST_REJECT = 2**20


@dataclass
class Intake:
    """What came in before the tokenizer saw any of it.

    Args:
        source: Streams the documents that go on.
        fingerprint: The sha256 over the documents as the source gave them.
        books: A row per part and source.
        rejected: Records that could not become documents, by reason.
        places_replaced: Undecodable places that became U+FFFD.
        findings: The files that the passes left for the reader.
    """

    source: Source
    fingerprint: str
    books: Books
    rejected: Mapping[str, int] = field(default_factory=dict)
    places_replaced: int = 0
    findings: Sequence[str] = ()


def take_in(
    source: Source, pipeline: Pipeline, journal: Journal, *, workers: int, progress: Progress
) -> Intake:
    """Runs the pipeline once, and spools what it lets through.

    Args:
        source: Where the documents come from.
        pipeline: The parts that decide.
        journal: Its folder gets the examples of drops, the rejects and what the passes found.
        workers: Processes; what is written does not depend on it.
        progress: Told of every document that was read.
    """
    fingerprint, folder = Fingerprint(), journal.folder
    with RejectFile(folder / REJECTS, pipeline.redact) as rejects:

        def what_was_read() -> dict[str, Any]:
            rejects.flush()
            return {
                "fingerprint": fingerprint.hexdigest(),
                "rejected": dict(rejects.counts),
                "places_replaced": source.n_replaced,
            }

        run = pipeline.run(
            _Watched(source, fingerprint, progress),
            workers=workers,
            findings=folder,
            on_reject=rejects.add,
        )
        run.books.source = type(source).__name__
        spool, read = spooled(run, journal, what_was_read, folder / REJECTS)
    write_examples(folder / DROPPED, run.examples, pipeline.names)
    return Intake(source=spool, books=run.books, findings=run.found, **read)


class _Watched(Source):
    """A source that is counted and hashed while it is read.

    Args:
        source: The real one.
        fingerprint: Takes every document.
        progress: Told of every document.
    """

    def __init__(self, source: Source, fingerprint: Fingerprint, progress: Progress) -> None:
        self.source = source
        self.fingerprint = fingerprint
        self.progress = progress

    def files(self) -> list[Path]:
        return self.source.files()

    def documents(self) -> Iterator[Document]:
        return (record for record in self.records() if isinstance(record, Document))

    def records(self) -> Iterator[Document | Reject]:
        rejects: list[Reject] = []
        for document, raw in documents_and_bytes(self.source, rejects.append):
            yield from rejects
            rejects.clear()
            self.fingerprint.read(document, raw)
            self.progress.add(len(raw))
            yield document
        yield from rejects


class RejectFile:
    """A JSON line per record that could not become a document; no file where there is none.

    Args:
        path: The file.
        redact: Takes out of a record what must not be written.
    """

    def __init__(self, path: Path, redact: Callable[[str], str]) -> None:
        self.path = path
        self.redact = redact
        self.counts: Counter[str] = Counter()
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def flush(self) -> None:
        """Hands what was written to the operating system."""
        if self._file is not None:
            self._file.flush()

    def add(self, reject: Reject) -> None:
        """Writes a record down: where it is, what is wrong, and how it reads."""
        if self._file is None:
            self._file = self.path.open(
                "w", encoding="utf-8", errors="backslashreplace", newline=""
            )
        self.counts[reject.reason] += 1
        text = reject.raw[:_LARGEST_REJECT].decode("utf-8", "backslashreplace")
        content = asdict(reject) | {"raw": self.redact(text), "n_bytes": len(reject.raw)}
        content["cause"] = self.redact(reject.cause)
        self._file.write(_line(content))


def write_examples(path: Path, examples: list[Example], names: list[str]) -> None:
    """Writes a JSON line per example of a drop; no file where nothing was dropped."""
    if not examples:
        return
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        for example in examples:
            content = asdict(example) | {"part": names[example.part]}
            file.write(_line(content))


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, ensure_ascii=False) + "\n"
