"""Builds that end at a chosen note, and the corpus that they are of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from corpus_parts import Copies, Even

from roots.corpus import (
    BytePairs,
    Corpus,
    ExactDuplicates,
    NearDuplicates,
    Normalise,
    RepeatedLines,
)
from roots.corpus.journal import Journal
from roots.sources import Jsonl

N = 240


def put(folder: Path) -> None:
    """Writes documents with copies, near copies, blank ones and a record that is no JSON."""
    lines = []
    for i in range(N):
        words = " ".join(f"word{(i // 3) * 7 + k}" for k in range(30))
        text = words if i % 3 else f"{words} and cafe\u0301 {i // 6} <|endoftext|>"
        lines.append(json.dumps({"text": text if i % 20 else " ", "url": f"https://a{i % 3}.org"}))
    lines.insert(100, '{"text": "cut')
    (folder / "text.jsonl").write_text("\n".join(lines) + "\n")


STAGES = {
    "none": [],
    "stages": [Normalise(), Even()],
    "passes": [Normalise(), ExactDuplicates(), NearDuplicates(), RepeatedLines(), Even(), Copies()],
}


def made(folder: Path, out: str = "out", *, stages: str = "passes", **settings) -> Corpus:
    source = Jsonl(paths=str(folder / "text.jsonl"), on_bad_record="skip", max_bad_fraction=0.1)
    given = {
        "source": source,
        "stages": STAGES[stages],
        "tokenizer": BytePairs(vocab_size=300),
        "val_fraction": 0.2,
        "workers": 1,
    }
    return Corpus(**{**given, "out": str(folder / out), **settings})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(autouse=True)
def small_batches(monkeypatch) -> None:
    """Makes a build of many batches, each of which is noted."""
    for setting, value in SMALL.items():
        monkeypatch.setattr(setting, value)


SMALL = {
    "roots.corpus.pipeline.BATCH_CHARACTERS": 8000,
    "roots.corpus.encoding._BATCH_CHARACTERS": 300,
    "roots.corpus.spooling._BATCHES_PER_NOTE": 1,
    "roots.corpus.encoding._BATCHES_PER_NOTE": 2,
}


class Killed(BaseException):
    """What ends a build in these tests, where no signal does."""


def killed_at(monkeypatch, corpus: Corpus, note: int, *, after: bool) -> list[str]:
    """Runs a build until a note; gives the steps that were noted."""
    noted, write = [], Journal.note

    def note_and_die(self, step, *args, **named) -> None:
        if len(noted) == note and not after:
            raise Killed
        write(self, step, *args, **named)
        noted.append(step)
        if len(noted) == note + 1 and after:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "note", note_and_die)
        try:
            corpus.prepare(progress=False)
        except Killed:
            return noted
    return [*noted, "end"]


def notes_of(monkeypatch, corpus: Corpus) -> list[str]:
    return killed_at(monkeypatch, corpus, 10**9, after=False)[:-1]
