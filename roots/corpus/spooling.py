"""A pipeline run into a spool, segment by segment, from where a killed run ended.

What comes into a pass, and out of the last part, is a spool. When one is complete that is noted,
and what it was made from is removed; while stages fill one, that is noted every few batches. Then
the documents are read again, or decided again by the pass before, but the batches that the spool
holds already are left out. A pass that takes notes has them beside its spool, and says again what
it decided without the work; they are good as long as the spool that it reads is.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from roots.corpus.books import Books
from roots.corpus.journal import DOCUMENTS, STAGES, Journal
from roots.corpus.noted_pass import PassNotes
from roots.corpus.pipeline import Run
from roots.corpus.segments import Segment, segments
from roots.corpus.spool import Spool, SpoolWriter
from roots.corpus.staging import Example
from roots.records import Document

_BATCHES_PER_NOTE = 64
"""So much work of stages is lost when the build is killed."""


def spooled(
    run: Run, journal: Journal, what_was_read: Callable[[], dict[str, Any]], rejects: Path
) -> tuple[Spool, dict[str, Any]]:
    """Runs all parts.

    Args:
        run: Its books and examples tell at the end of all documents, as if it had never ended.
        journal: Tells how far a killed build came, and is told how far this one is.
        what_was_read: Describes in plain values what was read, once the source is at its end.
        rejects: The file of records that could not become documents, if there are any.

    Returns:
        What goes out of the last part, and what was read.
    """
    parts = segments(run.pipeline.parts)
    start, read = 0, {}
    run.begin()
    if before := journal.found(DOCUMENTS):
        start, read, run.found = before["next"], before["read"], list(before["found"])
        source = run.books.source
        run.begin(Books.from_plain(before["books"], source), _examples(before["examples"]))
    _clear(journal, start)
    for number in range(start, len(parts)):
        with SpoolWriter(journal.file(_path(journal, number), STAGES)) as writer:
            _fill(run, journal, number, parts[number], writer)
            read = read or what_was_read()
            kept = [path for path in (rejects, *_findings(run)) if path.exists()]
            journal.note(
                DOCUMENTS,
                [journal.record(writer.file), *map(journal.record, kept)],
                instead_of=STAGES,
                next=number + 1,
                read=read,
                found=run.found,
                books=run.books.plain(),
                examples=[asdict(example) for example in run.examples],
            )
        _remove_before(journal, number)
    return Spool(path=_path(journal, len(parts) - 1)), read


def _fill(run: Run, journal: Journal, number: int, segment: Segment, writer: SpoolWriter) -> None:
    """Fills a spool; after an error all files are closed, though its traceback is kept."""
    with closing(_stream(run, journal, number, segment)) as stream:
        if segment.stages:
            _fill_by_stages(run, journal, segment, stream, writer)
            return
        for document in stream:
            writer.add(document)


def _fill_by_stages(
    run: Run, journal: Journal, segment: Segment, stream: Iterator[Document], writer: SpoolWriter
) -> None:
    before = journal.found(STAGES) or {"batches": 0, "books": [], "examples": []}
    run.books.add(Books.from_plain(before["books"]))
    run.take(_examples(before["examples"]))
    done = before["batches"]
    with closing(run.batches(segment, stream, done)) as batches:
        for n_batches, documents in enumerate(batches, done + 1):
            for document in documents:
                writer.add(document)
            if n_batches % _BATCHES_PER_NOTE == 0:
                _note(run, journal, segment, writer, n_batches)


def _note(
    run: Run, journal: Journal, segment: Segment, writer: SpoolWriter, n_batches: int
) -> None:
    """Notes what stages did; the rows before theirs are counted again."""
    rows = range(segment.first_stage, segment.first_stage + len(segment.stages))
    journal.note(
        STAGES,
        [journal.record(writer.file)],
        batches=n_batches,
        books=run.books.only(rows).plain(),
        examples=[asdict(example) for example in run.examples if example.part in rows],
    )


def _stream(run: Run, journal: Journal, number: int, segment: Segment) -> Generator[Document]:
    if number == 0:
        return run.read()
    scratch, notes = _scratch(journal, number), _notes(journal, number)
    for folder in (scratch, notes):
        folder.mkdir(exist_ok=True)
    assert segment.part is not None
    noted = PassNotes(
        folder=notes,
        n_documents=run.books.of(segment.first - 1).documents_kept,
        name=segment.part.name,
        say=journal.say,
    )
    return run.decided(segment, Spool(path=_path(journal, number - 1)), scratch, noted)


def _clear(journal: Journal, number: int) -> None:
    """Removes what passes left, but for the notes of the one that is gone on with."""
    for folder in journal.work.iterdir():
        if folder.is_dir() and folder != _notes(journal, number):
            shutil.rmtree(folder)


def _remove_before(journal: Journal, number: int) -> None:
    if number > 0:
        shutil.rmtree(_scratch(journal, number))
        shutil.rmtree(_notes(journal, number))
        _path(journal, number - 1).unlink()


def _path(journal: Journal, number: int) -> Path:
    return journal.work / f"documents-{number}.spool"


def _scratch(journal: Journal, number: int) -> Path:
    return journal.work / f"pass-{number}"


def _notes(journal: Journal, number: int) -> Path:
    return journal.work / f"notes-{number}"


def _findings(run: Run) -> list[Path]:
    return [] if run.findings is None else [run.findings / name for name in run.found]


def _examples(written: list[dict[str, Any]]) -> Iterator[Example]:
    return (Example(**each) for each in written)
