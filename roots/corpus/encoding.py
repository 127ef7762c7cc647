"""The last pass: documents to tokens, each closed by eos, in order, into one writer per split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from roots.corpus.cutting import parts
from roots.corpus.journal import TOKENS, Journal
from roots.corpus.noted_writer import NotedWriter
from roots.corpus.pool import map_in_order
from roots.corpus.progress import Progress
from roots.corpus.survey import Survey, documents_and_bytes, drop_reason
from roots.corpus.tally import Tally
from roots.sources import Source
from roots.tokenizer import Tokenizer
from roots.tokenizer.fast_pairs import FastPairs

_BATCH_CHARACTERS = 2**18
_BATCHES_PER_NOTE = 64
"""So much work is lost when the build is killed."""

Encoded = tuple[bytes, list[int]]
"""The int32 ids of all texts of a batch, one after another, and how many each has."""


@dataclass(frozen=True)
class EncodeTexts:
    """The job of a worker that encodes.

    Args:
        folder: The folder of the tokenizer.
        fast: Whether tiktoken encodes; it is proved to give the same ids.
    """

    folder: Path
    fast: bool = False

    def open(self) -> Callable[[list[str]], Encoded]:
        """Loads the tokenizer."""
        tokenizer = Tokenizer.load(self.folder)
        if self.fast:
            pairs = FastPairs(tokenizer)
            return lambda texts: _packed([pairs.encode(text) for text in texts])
        return lambda texts: encode(tokenizer, texts)

    def failed(self, texts: list[str], why: str) -> str:
        """Names the batch by its first text."""
        return (
            f"A text that begins {texts[0][:60]!r}, or one of the {len(texts) - 1:,} after it,"
            f" could not be encoded: {why}. Try the tokenizer on it alone."
        )


def encode(tokenizer: Tokenizer, texts: list[str]) -> Encoded:
    """Encodes a batch."""
    return _packed([np.asarray(each, np.int32) for each in tokenizer.encode_batch(texts)])


def _packed(ids: list[npt.NDArray[np.int32]]) -> Encoded:
    return b"".join(array.tobytes() for array in ids), [len(array) for array in ids]


@dataclass
class _Batch:
    """Texts on their way to a worker.

    Args:
        texts: Documents, or parts of long ones.
        splits: The split of each text.
        sources: The source of each text.
        ends: Whether a document ends with it.
        n_characters: Of all texts.
    """

    texts: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    ends: list[bool] = field(default_factory=list)
    n_characters: int = 0

    def add(self, text: str, split: str, source: str, end: bool) -> None:
        self.texts.append(text)
        self.splits.append(split)
        self.sources.append(source)
        self.ends.append(end)
        self.n_characters += len(text)


def encode_documents(
    source: Source,
    *,
    divide: Callable[[bytes], str],
    job: EncodeTexts,
    writers: Mapping[str, NotedWriter],
    workers: int,
    progress: Progress,
    tally: Tally,
    journal: Journal,
) -> Survey:
    """Encodes all documents into the writers, but for those that a killed build left in them.

    Documents always fall into the same batches, whoever encodes them, so that the number of
    batches tells how far it is. All documents are read, as those before are counted again.

    Args:
        source: Where they come from.
        divide: Names the split of a text.
        job: Encodes, by the tokenizer in its folder.
        writers: One per split, open.
        workers: Processes, at least 1.
        progress: Told of every document that was handed to a worker.
        tally: Counts what is written.
        journal: Tells how far a killed build came, and is told how far this one is.

    Returns:
        What came in, counted anew.
    """
    tokenizer = Tokenizer.load(job.folder)
    found = Survey()
    cut = parts if tokenizer.cuts_at_lines else _whole
    batches = _batches(source, divide, found, progress, cut=cut, tally=tally)
    before = journal.found(TOKENS) or {"batches": 0, "tokens": {}}
    done = before["batches"]
    left = islice(batches, done, None)
    encoded = map_in_order(left, lambda batch: batch.texts, job, workers)
    tally.add_tokens(before["tokens"])
    with closing(encoded):
        for batch, answer in encoded:
            _write(batch, answer, writers, tokenizer.eos_id, tally)
            done += 1
            if done % _BATCHES_PER_NOTE == 0:
                _note(journal, done, writers, tally)
    if done > before["batches"] and done % _BATCHES_PER_NOTE:
        _note(journal, done, writers, tally)
    return found


def _note(
    journal: Journal, n_batches: int, writers: Mapping[str, NotedWriter], tally: Tally
) -> None:
    journal.note(
        TOKENS,
        [record for writer in writers.values() for record in writer.records()],
        batches=n_batches,
        tokens=tally.token_counts(),
        splits={name: writer.state() for name, writer in writers.items()},
    )


def _batches(
    source: Source,
    divide: Callable[[bytes], str],
    found: Survey,
    progress: Progress,
    *,
    cut: Callable[[str], Iterator[str]],
    tally: Tally,
) -> Iterator[_Batch]:
    batch = _Batch()
    for document, raw in documents_and_bytes(source):
        found.read(document, raw)
        progress.add(len(raw))
        if reason := drop_reason(document):
            found.dropped[reason] += 1
            continue
        split = divide(raw)
        found.keep(split, raw)
        name = tally.document(document, raw)
        for text, last in _with_last(cut(document.text)):
            batch.add(text, split, name, last)
            if batch.n_characters >= _BATCH_CHARACTERS:
                yield batch
                batch = _Batch()
    if batch.texts:
        yield batch


def _write(
    batch: _Batch,
    answer: Encoded,
    writers: Mapping[str, NotedWriter],
    eos_id: int,
    tally: Tally,
) -> None:
    raw, counts = answer
    ids = np.frombuffer(raw, dtype=np.int32)
    bounds = np.cumsum([0, *counts])
    for i, (split, end) in enumerate(zip(batch.splits, batch.ends, strict=True)):
        writer = writers[split]
        writer.extend(ids[bounds[i] : bounds[i + 1]])
        tally.tokens(batch.sources[i], counts[i] + end)
        if end:
            writer.extend([eos_id])
            writer.end_document()


def _whole(text: str) -> Iterator[str]:
    yield text


def _with_last(texts: Iterator[str]) -> Iterator[tuple[str, bool]]:
    held = next(texts)
    for text in texts:
        yield held, False
        held = text
    yield held, True
