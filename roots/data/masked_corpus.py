"""Rows with hidden tokens over token shards, as a LightningDataModule."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from torch.utils.data import DataLoader

from roots.batch import MaskedBatch
from roots.data.base import at_least
from roots.data.framed_rows import DocumentRows, Frame, FramedRows, PackedRows, StreamRows
from roots.data.joined import Batches, JoinedFramed
from roots.data.like_lengths import LikeLengths, padding_fraction
from roots.data.masked_steps import Hider, MaskedEvaluation, MaskedSteps
from roots.data.mixture import Mixture
from roots.data.shard_data import ShardData
from roots.data.streams import Order
from roots.data.windows import TokenSpan
from roots.errors import ConfigError, nearest
from roots.objectives import Masker, Masking
from roots.shards import ShardMaker, Streamed

KINDS = ("windows", "documents", "packed")


class MaskedCorpus(ShardData):
    """Reads token shards for masked language modelling: `roots.modules.MaskedLM`.

    What is hidden in a row changes with each epoch and is a function of seed, row and epoch, so it
    survives a resume and another number of devices; in a validation it is always the same.

    Args:
        shards: A folder of shards, as `roots corpus` writes it, its URL in an object store, or
            how to stream that (`roots.shards.Streamed`); or the corpus that makes one: it is made
            before the first step when it is not there yet. Its tokenizer needs a mask
            token: `roots.corpus.WordPiece`, `BytePairs` or `Unigram` with `special_tokens:
            roberta`, or an encoder's own.
        masking: What is hidden.
        rows: How documents become rows of `seq_len` tokens, special ones included: `windows` of
            the stream, with documents side by side that see each other; `documents`, one a row (a
            longer one is cut into several), filled up, for short texts; `packed`, several in a full
            row with attention and positions kept apart, where the network can.
        seq_len: Tokens in a row, T, special ones included; in one of `documents` at most.
        sequences_per_step: Rows of one optimizer step over all ranks and micro-batches.
        like_lengths: With `documents`, make each step of rows of like length, so that little is
            filled up.
        val_fraction: Share of the tokens kept for validation when the corpus made no validation
            split of its own: the last documents, or the end of the text where there is only one.
        max_val_sequences: Validate on at most so many rows of each corpus, the first ones; 0 means
            all. A test reads all, and what is predicted is of all.
        first_sequences_per_step: Rows of the first steps, a divisor of `sequences_per_step`, to
            which they grow in equal strides; 0 begins with all. With `windows` or `packed`.
        growing_steps: Optimizer steps until then.
        first_seq_len: Tokens of a row in the first steps, `seq_len` halved some times; 0 begins
            with all. Each row is cut into so short ones, and what a cut tears apart is framed on
            both sides of it: one or two special tokens are added to a short row, and not counted
            among the tokens. A step has the text, with the same of it hidden, that it would have
            anyway, and costs less attention. Rows then double, each length for as many steps. A
            validation reads whole rows. With `windows` or `packed`.
        lengthening_steps: Optimizer steps until rows have `seq_len` tokens.

    Raises:
        ConfigError: A length, number or name that cannot work, too little text for one row, or a
            tokenizer without a mask token.
    """

    ARGUMENTS: ClassVar[Sequence[str]] = (*ShardData.ARGUMENTS, "masking", "rows", "like_lengths")

    asks: ClassVar[str] = "hidden tokens"
    framed = True

    def __init__(
        self,
        *,
        shards: str | ShardMaker | Streamed | Mixture,
        masking: Masking = Masking(),  # noqa: B008 - never changed
        rows: str = "windows",
        seq_len: int = 512,
        sequences_per_step: int = 32,
        like_lengths: bool = True,
        val_fraction: float = 0.05,
        max_val_sequences: int = 0,
        first_sequences_per_step: int = 0,
        growing_steps: int = 0,
        first_seq_len: int = 0,
        lengthening_steps: int = 0,
    ) -> None:
        if rows == "documents":
            _refuse("growing_steps", growing_steps, "first_sequences_per_step")
            _refuse("lengthening_steps", lengthening_steps, "first_seq_len")
        super().__init__(
            shards=shards,
            seq_len=at_least("seq_len", seq_len, 3),
            sequences_per_step=sequences_per_step,
            val_fraction=val_fraction,
            max_val_sequences=max_val_sequences,
            first_sequences_per_step=first_sequences_per_step,
            growing_steps=growing_steps,
            first_seq_len=first_seq_len,
            lengthening_steps=lengthening_steps,
        )
        if rows not in KINDS:
            raise ConfigError(
                f"There are no rows {rows!r}{nearest(rows, KINDS)}."
                f" Set data.rows to one of {', '.join(KINDS)}."
            )
        if rows == "documents" and isinstance(shards, Mixture):
            raise ConfigError(
                "A mixture is of rows of one length, so that weights are shares of the tokens."
                " Set data.rows to windows or packed."
            )
        self.masking = masking
        self.rows = rows
        self.like_lengths = like_lengths
        self.same_lengths = rows != "documents"
        self._by_length: LikeLengths | None = None

    @property
    def labelled_fraction(self) -> float:
        """Share of the tokens that are hidden, in the mean."""
        return self.masking.rate

    @property
    def packed_by(self) -> str:
        """The setting that keeps the documents of a row apart; nothing where none does."""
        return "data.rows: packed" if self.rows == "packed" else ""

    @property
    def tokens_per_step(self) -> float:
        """Input tokens of one optimizer step over all ranks, in the mean."""
        if self.same_lengths or not self.is_ready:
            return super().tokens_per_step
        return float(self._lengths("train").mean()) * self.sequences_per_step

    def tokens_until(self, step: int) -> int:
        """Counts the input tokens of the steps before `step`, over all ranks."""
        if self.same_lengths:
            return super().tokens_until(step)
        return self.by_length.tokens_until(step)

    def step_metrics(self, first: int, stop: int, rows: int) -> dict[str, float]:
        """Tells which share of the places in the micro-batches was filled up."""
        if self.same_lengths or first == stop:
            return super().step_metrics(first, stop, rows)
        share = padding_fraction(self.by_length, first, stop, rows=rows, ranks=self._ranks)
        return {"train/padding_fraction": share}

    # -- rows --------------------------------------------------------------------------------

    @cached_property
    def frame(self) -> Frame:
        """The special tokens around a row."""
        tokenizer = self.tokenizer
        return Frame(tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id)

    @cached_property
    def masker(self) -> Masker:
        """Hides tokens.

        Raises:
            ConfigError: The tokenizer has no mask token, or does not mark where words begin.
        """
        return Masker(self.masking, self.tokenizer)

    def rows_of(self, span: TokenSpan, split: str) -> FramedRows:
        """Cuts the text of one corpus into rows."""
        if self.rows == "documents":
            return DocumentRows(span, seq_len=self.seq_len, frame=self.frame)
        kind = PackedRows if self.rows == "packed" else StreamRows
        return kind(span, seq_len=self.seq_len, keep_last=split != "train", frame=self.frame)

    def joined(self, parts: Sequence[FramedRows]) -> JoinedFramed:
        """Puts the rows of several corpora together."""
        return JoinedFramed(parts)

    def _lengths(self, split: str) -> Any:
        rows = self.sequences(split)
        assert isinstance(rows, DocumentRows)
        return rows.lengths

    @property
    def order(self) -> Order:
        """Which places of the stream each step has."""
        return super().order if self.same_lengths else self.by_length

    @property
    def by_length(self) -> LikeLengths:
        """Which rows each step has, where they are documents."""
        if self._by_length is None:
            self._by_length = LikeLengths(
                self._lengths("train"),
                rows_per_step=self.sequences_per_step,
                seed=self.trainer.seed,  # type: ignore[union-attr]
                sorts=self.like_lengths,
            )
        return self._by_length

    # -- Lightning's hooks -------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Checks, before anything is built, that there is enough text and a mask token."""
        self._by_length = None
        super().setup(stage)
        _ = self.masker

    def train_dataloader(self) -> DataLoader[MaskedBatch]:
        """Yields one batch per optimizer step, from the first that is not done."""
        seed: int = self.trainer.seed  # type: ignore[union-attr]
        steps = MaskedSteps(
            self._hider("train"),
            stream=self.stream,
            order=self.order,
            share=self.share,
            seed=seed,
            lengthening=self._lengthening,
        )
        return self.training_loader(steps)

    def all_of(self, split: str, at_most: int = 0) -> DataLoader[MaskedBatch]:
        """Yields rows of a split, each once, with the same tokens hidden in every run."""
        batches = self.batches(split, at_most)
        return self.evaluation_loader(
            MaskedEvaluation(self._hider(split), batches=batches, share=self.share)
        )

    def batches(self, split: str, at_most: int) -> Batches:
        """Cuts a split into batches; where rows are documents, the longest come first."""
        batches = super().batches(split, at_most)
        if self.same_lengths:
            return batches
        (rows,) = batches.groups
        longest = np.argsort(-self._lengths(split)[rows], kind="stable")
        return Batches([rows[longest]], batches.size, ranks=batches.ranks)

    def _hider(self, split: str) -> Hider:
        return Hider(
            self.sequences(split),
            self.masker,
            self.token_bytes,
            frame=self.frame,
            is_cut=not self.same_lengths,
        )


def _refuse(name: str, steps: int, first: str) -> None:
    """Raises ConfigError where documents as rows are to grow over some steps, in whatever way."""
    if steps:
        raise ConfigError(
            f"{name}={steps:,} is for rows of one length: those of `documents` are as long as their"
            " texts, and sorted by length within steps of one size. Set data.rows to windows or"
            f" packed, or data.{name} and data.{first} to 0."
        )
