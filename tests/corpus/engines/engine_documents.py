"""Documents for the tests of engines: two files, two sources, every kind of fate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from roots.corpus import GopherQuality, Normalise, Part, Pii, Pipeline
from roots.corpus.books import Books
from roots.records import Document

SENTENCE = "the roots of a tree have to be with the earth and that is where they grow, so "


def stages() -> list[Part]:
    return [Normalise(), GopherQuality(min_words=10), Pii(), GopherQuality(min_words=11)]


def texts() -> Iterator[str]:
    """Kept as it is, edited, dropped by the first rules, by the second ones, blank."""
    for i in range(12):
        yield SENTENCE * 2 + f"number {i}"
        yield SENTENCE + f"write\r\nto ann{i}@roots.io or to\x07 198.50.{i}.7 "
        yield f"Mail ann{i}@roots.io!"
        yield "the be to of and that have with these ten" if i % 2 else " \n"


def write_files(folder: Path) -> list[Document]:
    """Writes two files of JSON lines, and gives the documents that a reader finds there."""
    folder.mkdir(parents=True)
    documents = [
        Document(text, f"d{i}", {"source": ("web", "books", "")[i % 3], "n": i})
        for i, text in enumerate(texts())
    ]
    for number, part in enumerate((documents[:30], documents[30:])):
        lines = [json.dumps({"text": d.text, "id": d.id, "metadata": d.metadata}) for d in part]
        (folder / f"{number}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return documents


def single_machine(documents: list[Document]) -> tuple[list[Document], Books]:
    """What roots' own pipeline keeps of them, and its books."""
    named = [Document(d.text, d.id, d.metadata, str(d.metadata["source"])) for d in documents]
    run = Pipeline(stages()).run(named)
    return list(run), run.books
