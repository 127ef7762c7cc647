"""How a corpus is made: what comes in, tokenizer, shards, manifest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from roots.corpus.card_markdown import write_markdown
from roots.corpus.cutting import parts
from roots.corpus.encoding import encode_documents
from roots.corpus.inputs import FileState, remember, states, with_files
from roots.corpus.intake import REJECTS, SPOOL, Intake, RejectFile, take_in
from roots.corpus.pipeline import Pipeline
from roots.corpus.pool import choose_workers
from roots.corpus.progress import Progress
from roots.corpus.splitting import fraction_of
from roots.corpus.survey import Survey, documents_and_bytes, drop_reason, survey
from roots.corpus.tally import Tally
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
        pipeline: What decides about them first.
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
    pipeline: Pipeline
    plan: TokenizerPlan
    divide: Callable[[bytes], str]
    fractions: Mapping[str, float]
    seed: int
    max_training_bytes: int
    workers: int
    recipe: Mapping[str, Any]
    show: bool

    def run(self, folder: Path) -> None:
        """Fills `folder`; the card, which tells what the manifest does, comes after it.

        Raises:
            DataError: The input cannot be read, changes meanwhile, or leaves a split empty.
        """
        files = states(self.source.files())
        others = states(self.pipeline.files())
        taken, found = self._take_in(folder, files)
        manifest = replace(self, source=taken.source)._write(folder, taken, found)
        (folder / SPOOL).unlink(missing_ok=True)
        remember(folder, [*files, *others])
        (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8", newline="")
        write_markdown(folder)

    def _take_in(self, folder: Path, files: list[FileState]) -> tuple[Intake, Survey]:
        """Reads the source: through the pipeline where it has parts, else as it is."""
        n_bytes = sum(size for _, size, _ in files)
        if not self.pipeline.parts:
            return self._survey(folder, n_bytes)
        progress = self._progress("stages", n_bytes)
        workers = self.workers
        taken = take_in(self.source, self.pipeline, folder, workers=workers, progress=progress)
        progress.finish()
        return taken, survey(taken.source, self.divide)

    def _survey(self, folder: Path, n_bytes: int) -> tuple[Intake, Survey]:
        progress = self._progress("survey", n_bytes)
        with RejectFile(folder / REJECTS, str) as rejects:
            found = survey(self.source, self.divide, progress, rejects.add)
        progress.finish()
        taken = Intake(
            source=self.source,
            fingerprint=found.fingerprint,
            books=found.books,
            rejected=rejects.counts,
            places_replaced=found.places_replaced,
        )
        return taken, found

    def _write(self, folder: Path, taken: Intake, found: Survey) -> Manifest:
        self._check_splits(taken, found)
        tokenizer = self._make_tokenizer(found)
        tokenizer.save(folder / TOKENIZER)
        tally = Tally(taken.books.source, self.seed)
        splits = self._encode(folder, tokenizer, found, tally)
        tally.write(folder)
        return self._manifest(tokenizer, taken, splits)

    def _check_splits(self, taken: Intake, found: Survey) -> None:
        if not found.documents.total():
            raise DataError(_no_text(taken))
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

    def _encode(
        self, folder: Path, tokenizer: Tokenizer, found: Survey, tally: Tally
    ) -> dict[str, SplitRecord]:
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
                tally=tally,
            )
            _check_unchanged(found, again)
        progress.finish()
        return {name: _record(writer, found.n_bytes[name]) for name, writer in writers.items()}

    def _manifest(
        self, tokenizer: Tokenizer, taken: Intake, splits: Mapping[str, SplitRecord]
    ) -> Manifest:
        return Manifest(
            dtype=token_dtype(tokenizer.vocab_size).name,
            vocab_size=tokenizer.vocab_size,
            eos_id=tokenizer.eos_id,
            tokenizer_fingerprint=tokenizer.fingerprint,
            input_fingerprint=with_files(taken.fingerprint, self.pipeline.files()),
            recipe=self.recipe,
            splits=splits,
            documents_read=taken.books.documents_in,
            documents_dropped=dict(taken.books.dropped),
            places_replaced=taken.places_replaced,
            books=taken.books.plain(),
            records_rejected=dict(taken.rejected),
            findings=tuple(taken.findings),
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


def _no_text(taken: Intake) -> str:
    books = taken.books
    dropped = ", ".join(f"{n:,} {why}" for why, n in books.dropped.most_common()) or "none"
    read = f"{books.documents_in:,} documents read, dropped: {dropped}"
    if books.of(0).documents_kept:
        return (
            f"The stages left no document: {read}. Loosen or leave out the one that dropped most;"
            " `roots corpus … --sample 1000` shows an example for each reason."
        )
    return f"The source gave no text: {read}. Give it files that hold text."
