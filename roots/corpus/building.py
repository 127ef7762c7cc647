"""The stages of a corpus, one after another: survey, tokenizer, shards, manifest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roots.corpus.cutting import parts
from roots.corpus.encoding import encode_documents
from roots.corpus.inputs import FileState, remember, states
from roots.corpus.pool import choose_workers
from roots.corpus.progress import Progress
from roots.corpus.splitting import fraction_of
from roots.corpus.survey import Survey, documents_and_bytes, drop_reason, survey
from roots.errors import DataError
from roots.records import Document
from roots.shards import Manifest, ShardWriter, SplitRecord
from roots.shards.folder import TOKENIZER
from roots.shards.layout import token_dtype
from roots.shards.manifest import MANIFEST
from roots.sources import Source
from roots.tokenizer import Tokenizer, TokenizerPlan


@dataclass(frozen=True)
class Build:
    """One build of a corpus.

    Args:
        source: Where the documents come from.
        plan: How to get the tokenizer.
        divide: Names the split of a text, given in UTF-8.
        fractions: The share of each split that must not be empty, `train` included.
        seed: Draws the documents that the tokenizer is trained on.
        max_training_bytes: About how many bytes of text those are.
        workers: Processes that encode; 0 is one per core.
        recipe: For the manifest.
        show: Show progress on stderr.
    """

    source: Source
    plan: TokenizerPlan
    divide: Callable[[bytes], str]
    fractions: Mapping[str, float]
    seed: int
    max_training_bytes: int
    workers: int
    recipe: Mapping[str, Any]
    show: bool

    def run(self, folder: Path) -> None:
        """Fills `folder`, the manifest last.

        Raises:
            DataError: The input cannot be read, changes meanwhile, or leaves a split empty.
        """
        files = states(self.source.files())
        found = self._survey(files)
        self._check_splits(found)
        tokenizer = self._make_tokenizer(found)
        tokenizer.save(folder / TOKENIZER)
        splits = self._encode(folder, tokenizer, found)
        remember(folder, files)
        manifest = self._manifest(tokenizer, found, splits)
        (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8", newline="")

    def _survey(self, files: list[FileState]) -> Survey:
        progress = self._progress("survey", sum(size for _, size, _ in files))
        found = survey(self.source, self.divide, progress)
        progress.finish()
        return found

    def _check_splits(self, found: Survey) -> None:
        for split, fraction in self.fractions.items():
            if fraction > 0 and not found.documents[split]:
                raise DataError(_empty_split(split, fraction, found, self._enough(split)))

    def _enough(self, split: str) -> float:
        """Finds the smallest fraction, in hundredths, that gives `split` a document."""
        below = 0.0 if split == "test" else self.fractions.get("test", 0.0)
        drawn = (fraction_of(raw, self.seed, "split") for _, raw in self._kept())
        nearest = min((each for each in drawn if each >= below), default=1.0)
        return (math.floor(100 * (nearest - below)) + 1) / 100

    def _make_tokenizer(self, found: Survey) -> Tokenizer:
        if not self.plan.needs_texts:
            return self.plan.make(())
        progress = self._progress("tokenizer", min(found.n_bytes["train"], self.max_training_bytes))
        tokenizer = self.plan.make(self._training_texts(found, progress))
        progress.finish()
        return tokenizer

    def _training_texts(self, found: Survey, progress: Progress) -> Iterator[str]:
        """Streams the documents of the train split, or an even sample of them, in parts."""
        share = self.max_training_bytes / max(found.n_bytes["train"], 1)
        for document, raw in self._kept():
            if self.divide(raw) != "train":
                continue
            if share >= 1 or fraction_of(raw, self.seed, "training") < share:
                yield from parts(document.text)
                progress.add(len(raw))

    def _kept(self) -> Iterator[tuple[Document, bytes]]:
        pairs = documents_and_bytes(self.source)
        return (pair for pair in pairs if drop_reason(pair[0]) is None)

    def _encode(self, folder: Path, tokenizer: Tokenizer, found: Survey) -> dict[str, SplitRecord]:
        n_bytes = found.n_bytes.total()
        progress = self._progress("encode", n_bytes)
        with ExitStack() as stack:
            writers = {
                name: stack.enter_context(
                    ShardWriter(folder / name, vocab_size=tokenizer.vocab_size)
                )
                for name in self.fractions
            }
            again = encode_documents(
                self.source,
                divide=self.divide,
                tokenizer_folder=folder / TOKENIZER,
                writers=writers,
                workers=choose_workers(self.workers, n_bytes),
                progress=progress,
            )
            _check_unchanged(found, again)
        progress.finish()
        return {name: _record(writer, found.n_bytes[name]) for name, writer in writers.items()}

    def _manifest(
        self, tokenizer: Tokenizer, found: Survey, splits: Mapping[str, SplitRecord]
    ) -> Manifest:
        return Manifest(
            dtype=token_dtype(tokenizer.vocab_size).name,
            vocab_size=tokenizer.vocab_size,
            eos_id=tokenizer.eos_id,
            tokenizer_fingerprint=tokenizer.fingerprint,
            input_fingerprint=found.fingerprint,
            recipe=self.recipe,
            splits=splits,
            documents_read=found.n_read,
            documents_dropped=dict(found.dropped),
            places_replaced=found.places_replaced,
        )

    def _progress(self, label: str, total_bytes: int) -> Progress:
        return Progress(label=label, total_bytes=total_bytes, show=self.show)


def _record(writer: ShardWriter, n_bytes: int) -> SplitRecord:
    return SplitRecord(
        documents=writer.n_documents,
        tokens=writer.n_tokens,
        bytes=n_bytes,
        files=tuple(writer.files()),
    )


def _check_unchanged(first: Survey, second: Survey) -> None:
    if first.fingerprint != second.fingerprint:
        raise DataError(
            f"The source gave other documents when it was read again ({first.n_read:,}, then"
            f" {second.n_read:,}; or other texts). Run again when nothing writes to its files; a"
            " source of your own must give the same documents in the same order each time."
        )


def _empty_split(split: str, fraction: float, found: Survey, enough: float) -> str:
    kept = found.documents.total()
    if kept == 0:
        dropped = ", ".join(f"{n:,} {why}" for why, n in found.dropped.items()) or "none"
        return (
            f"The source gave no text: {found.n_read:,} documents read, dropped: {dropped}."
            " Give it files that hold text."
        )
    by_document = (
        "A corpus is divided by whole documents; cut the text into smaller ones (in"
        " roots.sources.Text: document: blank_line, or line)"
    )
    if split == "train":
        return f"None of the {kept:,} documents fell into train. {by_document}."
    return (
        f"{split}_fraction={fraction} of {kept:,} documents gave none to {split}. {by_document},"
        f" or set {split}_fraction to {enough:.2f} or more, or to 0 for no such split."
    )
