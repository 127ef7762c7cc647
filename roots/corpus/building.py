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
from roots.corpus.encoding import EncodeTexts, encode_documents
from roots.corpus.identity import deciding_code, identity_of
from roots.corpus.inputs import FileState, remember, states, with_files
from roots.corpus.intake import REJECTS, Intake, RejectFile, take_in
from roots.corpus.journal import TOKENIZER as TRAINED
from roots.corpus.journal import Journal
from roots.corpus.noted_writer import NotedWriter
from roots.corpus.pipeline import Pipeline
from roots.corpus.pool import choose_workers
from roots.corpus.progress import Progress
from roots.corpus.splitting import fraction_of
from roots.corpus.survey import Survey, documents_and_bytes, drop_reason, survey
from roots.corpus.tally import Tally
from roots.errors import DataError
from roots.records import Document
from roots.shards import Manifest, SplitRecord
from roots.shards.folder import TOKENIZER
from roots.shards.layout import token_dtype
from roots.shards.maker import say, silent
from roots.shards.manifest import MANIFEST
from roots.sources import Source
from roots.tokenizer import Tokenizer, TokenizerPlan
from roots.tokenizer.fast_pairs import why_not

WORTH_A_PROOF = 2**25
"""Bytes of text from which on the seconds for the proof are saved again."""


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

    def run(self, folder: Path, work: Path) -> None:
        """Fills `folder`; the card, which tells what the manifest does, comes after it.

        Args:
            folder: Becomes the corpus.
            work: For what only the build needs; what a killed one left there is taken over.

        Raises:
            DataError: The input cannot be read, changes meanwhile, or leaves a split empty.
        """
        files = states(self.source.files())
        all_files = [*files, *states(self.pipeline.files())]
        journal = Journal(
            folder=folder,
            work=work,
            identity=identity_of(self.recipe, all_files) if files else None,
            say=say if self.show else silent,
        )
        taken, found = self._take_in(journal, files)
        manifest = replace(self, source=taken.source)._write(journal, taken, found)
        remember(folder, all_files, deciding_code(self.recipe))
        text = manifest.to_json()  # with the paths of the source, which may be no UTF-8
        (folder / MANIFEST).write_text(
            text, encoding="utf-8", errors="backslashreplace", newline=""
        )
        write_markdown(folder)

    def _take_in(self, journal: Journal, files: list[FileState]) -> tuple[Intake, Survey]:
        """Reads the source: through the pipeline where it has parts, else as it is."""
        n_bytes = sum(size for _, size, _ in files)
        if not self.pipeline.parts:
            return self._survey(journal.folder, n_bytes)
        progress = self._progress("stages", n_bytes)
        workers = self.workers
        taken = take_in(self.source, self.pipeline, journal, workers=workers, progress=progress)
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

    def _write(self, journal: Journal, taken: Intake, found: Survey) -> Manifest:
        if trouble := self._trouble(taken, found):
            journal.forget()
            raise DataError(trouble)
        tokenizer = self._tokenizer(journal, found)
        tally = Tally(taken.books.source, self.seed)
        splits = self._encode(journal, tokenizer, found, tally)
        tally.write(journal.folder)
        return self._manifest(tokenizer, taken, splits)

    def _tokenizer(self, journal: Journal, found: Survey) -> Tokenizer:
        folder = journal.folder / TOKENIZER
        if journal.found(TRAINED):
            return Tokenizer.load(folder)
        tokenizer = self._make_tokenizer(found)
        tokenizer.save(folder)
        journal.note(TRAINED, [journal.record(path) for path in sorted(folder.iterdir())])
        return tokenizer

    def _trouble(self, taken: Intake, found: Survey) -> str | None:
        """Words what is wrong when there is no text, or none for a split."""
        if not found.documents.total():
            return _no_text(taken)
        for split, fraction in self.fractions.items():
            if fraction > 0 and not found.documents[split]:
                return _empty_split(split, fraction, found, self._enough(split))
        return None

    def _enough(self, split: str) -> float | None:
        """Finds the least fraction, in hundredths, that fills `split` and leaves some for train."""
        below = 0.0 if split == "test" else self.fractions.get("test", 0.0)
        above = self.fractions.get("val", 0.0) if split == "test" else 0.0
        nearest, highest = 1.0, 0.0
        for _, raw in self._kept():
            drawn = fraction_of(raw, self.seed, "split")
            highest = max(highest, drawn)
            nearest = min(nearest, drawn) if drawn >= below else nearest
        enough = (math.floor(100 * (nearest - below)) + 1) / 100
        return enough if highest >= below + enough + above else None

    def _make_tokenizer(self, found: Survey) -> Tokenizer:
        if not self.plan.needs_texts:
            return self.plan.make(())
        progress = self._progress("tokenizer", min(found.n_bytes["train"], self.max_training_bytes))
        tokenizer = self.plan.make(self._training_texts(found, progress))
        progress.finish()
        return tokenizer

    def _training_texts(self, found: Survey, progress: Progress) -> Iterator[str]:
        """Streams the documents of the train split, or an even sample of them, in parts.

        Of few large documents none may be drawn: then the one with the least draw is taken, cut.
        """
        share = self.max_training_bytes / max(found.n_bytes["train"], 1)
        least, text = 1.0, ""
        for document, raw in self._kept():
            if self.divide(raw) != "train":
                continue
            drawn = fraction_of(raw, self.seed, "training")
            if share >= 1 or drawn < share:
                least = -1.0
                yield from parts(document.text)
                progress.add(len(raw))
            elif drawn < least:
                least, text = drawn, document.text
        if least >= 0:
            yield from parts(text[: self.max_training_bytes])

    def _kept(self) -> Iterator[tuple[Document, bytes]]:
        pairs = documents_and_bytes(self.source)
        return (pair for pair in pairs if drop_reason(pair[0]) is None)

    def _encode(
        self, journal: Journal, tokenizer: Tokenizer, found: Survey, tally: Tally
    ) -> dict[str, SplitRecord]:
        n_bytes = found.n_bytes.total()
        progress = self._progress("encode", n_bytes)
        size = tokenizer.vocab_size
        with ExitStack() as stack:
            writers = {
                name: stack.enter_context(NotedWriter(name, vocab_size=size, journal=journal))
                for name in self.fractions
            }
            again = encode_documents(
                self.source,
                divide=self.divide,
                job=EncodeTexts(journal.folder / TOKENIZER, self._is_fast(tokenizer, found)),
                writers=writers,
                workers=choose_workers(self.workers, n_bytes),
                progress=progress,
                tally=tally,
                journal=journal,
            )
            if again.fingerprint != found.fingerprint:
                journal.forget()
                raise DataError(_changed(found, again))
        progress.finish()
        return {name: _record(writer, found.n_bytes[name]) for name, writer in writers.items()}

    def _is_fast(self, tokenizer: Tokenizer, found: Survey) -> bool:
        """Decides whether tiktoken encodes: it changes no byte, so the manifest is not told."""
        if found.n_bytes.total() < WORTH_A_PROOF:
            return False
        why = why_not(tokenizer, found.sample)
        if self.show and why is None:
            say(f"encode: by tiktoken; equal ids proved, and found on {len(found.sample):,} texts")
        elif self.show:
            say(f"encode: by tokenizers, not by tiktoken: {why}")
        return why is None

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


def _record(writer: NotedWriter, n_bytes: int) -> SplitRecord:
    return SplitRecord(
        documents=writer.n_documents,
        tokens=writer.n_tokens,
        bytes=n_bytes,
        files=tuple(writer.files()),
    )


def _changed(first: Survey, second: Survey) -> str:
    return (
        f"The source gave other documents when it was read again ({first.n_read:,}, then"
        f" {second.n_read:,}; or other texts). Run again when nothing writes to its files; a"
        " source of your own must give the same documents in the same order each time."
    )


def _empty_split(split: str, fraction: float, found: Survey, enough: float | None) -> str:
    kept = found.documents.total()
    by_document = (
        "A corpus is divided by whole documents; cut the text into smaller ones (in"
        " roots.sources.Text: document: blank_line, or line)"
    )
    if split == "train":
        return f"None of the {kept:,} documents fell into train. {by_document}."
    larger = "" if enough is None else f" or set {split}_fraction to {enough:.2f} or more,"
    return (
        f"{split}_fraction={fraction} of {kept:,} documents gave none to {split}. {by_document},"
        f"{larger} or set {split}_fraction to 0 for no such split."
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
