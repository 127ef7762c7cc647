"""Pairs of texts of which one is made from the other: translation, summary, correction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import ClassVar, Literal

from roots.data.base import at_least
from roots.data.pair_split import PairSplit
from roots.data.ragged import Ragged
from roots.data.task_data import TaskData
from roots.records import BadRow, Row
from roots.sources.rows import Check, CheckedRows, HasText, RowSource, rows_from
from roots.sources.rows.checks import bad
from roots.tokenizer import EndedFraming, Tokenizer, TokenizerPlan

LEAST = 8
"""Tokens that leave room for a text beside the special tokens of any frame."""


class ParallelTexts(TaskData):
    """Reads pairs of texts: fields `source` and `target`.

    A text is framed as the tokenizer says (`</s>` behind it for a T5); where the tokenizer's frame
    does not end with the token that ends a text, it is put there, on both sides. A source that is
    too long is cut, and how many were is said; a target that is too long is a bad row, because a
    network learns to stop in the middle from one that is cut.

    Args:
        train: A file (jsonl, csv, tsv, parquet, …) of training rows, or a reader of rows:
            `roots.sources.rows.ParallelText` pairs the lines of two files.
        val: Validation rows; empty holds out a part of the training rows.
        test: Test rows; may be empty.
        tokenizer: A folder or hub name with the tokenizer; a plan, such as
            `roots.corpus.BytePairs` or `Unigram`, that trains one for both sides on all rows of
            `train`, those that are held out too: each fold and each run has the same one; empty
            takes that of the network.
        prefix: Put before every source, for networks that know their task by it: `translate English
            to German: `.
        max_source_tokens: Tokens of a source at most, prefix and special tokens included; more are
            cut.
        max_target_tokens: Tokens of a target at most, special tokens included; it is also where
            generation ends at last.
        sequences_per_step: Pairs of one optimizer step over all ranks and micro-batches.
        val_fraction: Share of the training rows that is held out where `val` is empty: copies of a
            source stay together, and each run has the same.
        fold: With `folds`, which of them is validated on, from 1.
        folds: Divide the training rows into so many parts for a cross-validation, as `val_fraction`
            divides them, and train on all parts but `fold`; 0 does not.
        like_lengths: Make each step of pairs of like length, so that little is filled up.
        columns: The file's name for each field, where they differ: `{source: en, target: de}`.
        on_bad_row: `error` ends at the first bad row; `skip` leaves bad rows out and counts them.
        max_bad_fraction: With `skip`, more bad rows than this share of all are an error.
        rejected_file: With `skip`, where the bad rows of the training data are written; empty
            writes them nowhere.

    Raises:
        ConfigError: A number that cannot work.
    """

    asks: ClassVar[str] = "the target of a source"
    SHARED: ClassVar = tuple(name for name in TaskData.SHARED if name != "seq_len")
    ARGUMENTS: ClassVar = ("prefix", "max_source_tokens", "max_target_tokens")
    KEPT_AS: ClassVar = {"tokenizer": "given_tokenizer"}
    FIELDS: ClassVar = ("source", "target")
    LABELS: ClassVar = ("target",)
    LINE: ClassVar = "source"

    def __init__(
        self,
        *,
        train: str | list[str] | RowSource,
        val: str | list[str] | RowSource = "",
        test: str | list[str] | RowSource = "",
        tokenizer: str | TokenizerPlan = "",
        prefix: str = "",
        max_source_tokens: int = 128,
        max_target_tokens: int = 128,
        sequences_per_step: int = 32,
        val_fraction: float = 0.1,
        fold: int = 0,
        folds: int = 0,
        like_lengths: bool = True,
        columns: Mapping[str, str] | None = None,
        on_bad_row: Literal["error", "skip"] = "error",
        max_bad_fraction: float = 0.01,
        rejected_file: str = "",
    ) -> None:
        self.max_source_tokens = at_least("max_source_tokens", max_source_tokens, LEAST)
        self.max_target_tokens = at_least("max_target_tokens", max_target_tokens, LEAST)
        super().__init__(
            train=train,
            val=val,
            test=test,
            tokenizer=tokenizer if isinstance(tokenizer, str) else "",
            seq_len=max(max_source_tokens, max_target_tokens),
            sequences_per_step=sequences_per_step,
            val_fraction=val_fraction,
            fold=fold,
            folds=folds,
            like_lengths=like_lengths,
            columns=columns,
            on_bad_row=on_bad_row,
            max_bad_fraction=max_bad_fraction,
            rejected_file=rejected_file,
        )
        self.prefix = prefix
        self.given_tokenizer = tokenizer

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of both sides: opened, or trained on all rows of `train`."""
        plan = self.given_tokenizer
        return super().tokenizer if isinstance(plan, str) else plan.make(self._texts_of_train())

    def describe(self) -> str:
        """Says in one line what is read, and how much of it."""
        train, val = self.split("train"), self.split("val")
        sources, targets = (lengths.mean() for lengths in train.sides)
        cut = train.n_cut
        n_cut = f", {cut:,} sources cut to {self.max_source_tokens:,} tokens" if cut else ""
        return (
            f"{self.path}: {len(train):,} pairs of {sources:.0f} and {targets:.0f} tokens in the"
            f" mean to train on{n_cut}, {len(val):,} to validate on{self._held_in_words}"
        )

    @property
    def most_tokens(self) -> int:
        """Tokens to which a longer source is cut."""
        return self.max_source_tokens

    def pairs(self, name: str) -> Sequence[tuple[str, str]]:
        """Gives source and target of each row of `train`, `val` or `test`, as they were read."""
        return self.split(name).about  # type: ignore[return-value]

    # -- rows --------------------------------------------------------------------------------

    def checks(self) -> Sequence[Check]:
        """Two texts, and a target that is short enough."""
        return [HasText("source"), HasText("target"), self._target_fits]

    def checks_when_asked(self) -> Sequence[Check]:
        """A text to write a target for."""
        return [HasText("source")]

    def without_labels(self, row: Row) -> dict[str, object]:
        """Gives an empty target."""
        del row
        return {"target": ""}

    def texts_of(self, row: Row) -> str:
        """The source: rows that have it in common stay together."""
        return str(row.fields["source"])

    def make_split(self, rows: Sequence[Row]) -> PairSplit:
        """Tokenizes both sides."""
        pairs = [(str(row.fields["source"]), str(row.fields["target"])) for row in rows]
        framing = EndedFraming(self.tokenizer, max_tokens=self.max_source_tokens)
        sources = framing.ids([self.prefix + source for source, _ in pairs])
        targets = _whole(self.tokenizer).ids([target for _, target in pairs])
        return PairSplit(
            input_ids=Ragged.of([ids for ids, _ in sources]),
            labels=Ragged.of([ids for ids, _ in targets]),
            where=[row.where for row in rows],
            pad_id=self.tokenizer.pad_id,
            about=pairs,
            n_cut=sum(was_cut for _, was_cut in sources),
        )

    @cached_property
    def _target_fits(self) -> TargetFits:
        return TargetFits(self.tokenizer, self.max_target_tokens)

    def _texts_of_train(self) -> Iterator[str]:
        rows = CheckedRows(
            rows_from(self.train),
            checks=[self._read_as, HasText("source"), HasText("target")],
            on_bad_row=self.on_bad_row,  # type: ignore[arg-type]
            max_bad_fraction=self.max_bad_fraction,
        )
        for row in rows:
            yield from (self.prefix + str(row.fields["source"]), str(row.fields["target"]))


class TargetFits:
    """Refuses a target of more tokens than are generated.

    Args:
        tokenizer: What a target is tokenized by.
        limit: Tokens at most, special ones included.
    """

    def __init__(self, tokenizer: Tokenizer, limit: int) -> None:
        self.framing = _whole(tokenizer)
        self.limit = limit

    def __call__(self, row: Row) -> Row | BadRow:
        """Gives the row back as it is."""
        ((ids, _),) = self.framing.ids([str(row.fields["target"])])
        if len(ids) <= self.limit:
            return row
        what = f"'target' has {len(ids):,} tokens, more than max_target_tokens={self.limit:,}"
        return bad(row, "target too long", what, f"Set it to {len(ids):,}, shorten the target")


def _whole(tokenizer: Tokenizer) -> EndedFraming:
    """Frames texts of any length."""
    return EndedFraming(tokenizer, max_tokens=2**31 - 1)
