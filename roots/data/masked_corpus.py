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
from roots.data.like_lengths import LikeLengths, padding_fraction
from roots.data.masked_steps import Hider, InTurn, MaskedEvaluation, MaskedSteps, Order
from roots.data.shard_data import ShardData
from roots.errors import ConfigError, nearest
from roots.objectives import Masker, Masking
from roots.shards import ShardMaker

KINDS = ("windows", "documents", "packed")


class MaskedCorpus(ShardData):
    """Reads token shards for masked language modelling: `roots.modules.MaskedLM`.

    What is hidden in a row changes with each epoch and is a function of seed, row and epoch, so it
    survives a resume and another number of devices; in a validation it is always the same.

    Args:
        shards: A folder of shards, as `roots corpus` writes it, or the corpus that makes one: it
            is made before the first step when it is not there yet. Its tokenizer needs a mask
            token: `roots.corpus.WordPiece`, `BytePairs` with `special_tokens: roberta`, or an
            encoder's own.
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
        max_val_sequences: Validate on at most so many rows, the first ones; 0 means all.

    Raises:
        ConfigError: A length, number or name that cannot work, too little text for one row, or a
            tokenizer without a mask token.
    """

    ARGUMENTS: ClassVar[Sequence[str]] = (*ShardData.ARGUMENTS, "masking", "rows", "like_lengths")

    masks = True

    def __init__(
        self,
        *,
        shards: str | ShardMaker,
        masking: Masking = Masking(),  # noqa: B008 - never changed
        rows: str = "windows",
        seq_len: int = 512,
        sequences_per_step: int = 32,
        like_lengths: bool = True,
        val_fraction: float = 0.05,
        max_val_sequences: int = 0,
    ) -> None:
        super().__init__(
            shards=shards,
            seq_len=at_least("seq_len", seq_len, 3),
            sequences_per_step=sequences_per_step,
            val_fraction=val_fraction,
            max_val_sequences=max_val_sequences,
        )
        if rows not in KINDS:
            raise ConfigError(
                f"There are no rows {rows!r}{nearest(rows, KINDS)}."
                f" Set data.rows to one of {', '.join(KINDS)}."
            )
        self.masking = masking
        self.rows = rows
        self.like_lengths = like_lengths
        self.same_lengths = rows != "documents"
        self._sequences: dict[str, FramedRows] = {}
        self._order: LikeLengths | None = None

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
        return super().tokens_until(step) if self.same_lengths else self.order.tokens_until(step)

    def step_metrics(self, first: int, stop: int, rows: int) -> dict[str, float]:
        """Tells which share of the places in the micro-batches was filled up."""
        if self.same_lengths or first == stop:
            return {}
        share = padding_fraction(self.order, first, stop, rows=rows, ranks=self._ranks)
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

    def sequences(self, split: str) -> FramedRows:
        """Cuts a split into rows."""
        if split not in self._sequences:
            self._sequences[split] = self._cut(split)
        return self._sequences[split]

    def _cut(self, split: str) -> FramedRows:
        span = self.span(split)
        if self.rows == "documents":
            return DocumentRows(span, seq_len=self.seq_len, frame=self.frame)
        kind = PackedRows if self.rows == "packed" else StreamRows
        return kind(span, seq_len=self.seq_len, keep_last=split != "train", frame=self.frame)

    def _lengths(self, split: str) -> Any:
        rows = self.sequences(split)
        assert isinstance(rows, DocumentRows)
        return rows.lengths

    @property
    def order(self) -> LikeLengths:
        """Which rows each step has, where they are documents."""
        if self._order is None:
            self._order = LikeLengths(
                self._lengths("train"),
                rows_per_step=self.sequences_per_step,
                seed=self.trainer.seed,  # type: ignore[union-attr]
                sorts=self.like_lengths,
            )
        return self._order

    # -- Lightning's hooks -------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Checks, before anything is built, that there is enough text and a mask token."""
        self._order = None
        super().setup(stage)
        _ = self.masker

    def train_dataloader(self) -> DataLoader[MaskedBatch]:
        """Yields one batch per optimizer step, from the first that is not done."""
        order: Order = InTurn(self.sequences_per_step) if self.same_lengths else self.order
        seed: int = self.trainer.seed  # type: ignore[union-attr]
        return self._training(
            MaskedSteps(self._hider("train"), order, share=self._share, seed=seed)
        )

    def all_of(self, split: str) -> DataLoader[MaskedBatch]:
        """Yields every row of a split once, with the same tokens hidden in every run."""
        n_rows = self.at_most(len(self.sequences(split)))
        order = np.arange(n_rows, dtype=np.int64)
        if not self.same_lengths:  # the longest first
            order = np.argsort(-self._lengths(split)[:n_rows], kind="stable")
        return self._evaluation(
            MaskedEvaluation(self._hider(split), order, share=self._share, ranks=self._ranks)
        )

    def _hider(self, split: str) -> Hider:
        return Hider(
            self.sequences(split), self.masker, self.token_bytes, is_cut=not self.same_lengths
        )
