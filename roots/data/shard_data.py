"""What data modules over token shards share: their rows, and which comes when."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int64
from torch.utils.data import DataLoader

from roots.data.base import at_least, first_few
from roots.data.corpus_data import CorpusData
from roots.data.joined import Batches, Joined, Sequences, in_turn
from roots.data.mixing import Mixing
from roots.data.mixture import Mixture
from roots.data.streams import Shuffled, Stream
from roots.data.warming import warmed
from roots.data.windows import TokenSpan
from roots.errors import ConfigError
from roots.shards import ShardMaker, Streamed


class ShardData(CorpusData):
    """Reads token shards.

    Args:
        shards: A folder of shards, as `roots corpus` writes it, its URL in an object store, or
            how to stream that (`roots.shards.Streamed`); or the corpus that makes one: it is made
            before the first step when it is not there yet. Or several, as a `roots.data.Mixture`.
        seq_len: Tokens in a row, T.
        sequences_per_step: Rows of one optimizer step over all ranks and micro-batches.
        val_fraction: Share of the tokens kept for validation when the corpus made no validation
            split of its own: the last documents, or the end of the text where there is only one.
        max_val_sequences: Validate on at most so many rows of each corpus, the first ones; 0 means
            all. A test reads all, and what is predicted is of all.
        first_sequences_per_step: Rows of the first steps, a divisor of `sequences_per_step`, to
            which it grows in equal strides; 0 begins with all.
        growing_steps: Optimizer steps until then.
        first_seq_len: Tokens of a row in the first steps, `seq_len` halved some times; 0 begins
            with all.
        lengthening_steps: Optimizer steps until rows have `seq_len` tokens.

    Raises:
        ConfigError: A length or number that cannot work, or too little text for one row.
    """

    ARGUMENTS: ClassVar[Sequence[str]] = (
        "shards",
        "seq_len",
        "sequences_per_step",
        "val_fraction",
        "max_val_sequences",
        "first_sequences_per_step",
        "growing_steps",
        "first_seq_len",
        "lengthening_steps",
    )

    longest_first = False
    """Whether rows of long documents have the first numbers, so that these stand for no others."""

    def __init__(
        self,
        *,
        shards: str | ShardMaker | Streamed | Mixture,
        seq_len: int = 512,
        sequences_per_step: int = 32,
        val_fraction: float = 0.05,
        max_val_sequences: int = 0,
        first_sequences_per_step: int = 0,
        growing_steps: int = 0,
        first_seq_len: int = 0,
        lengthening_steps: int = 0,
    ) -> None:
        super().__init__(
            shards=shards,
            seq_len=seq_len,
            sequences_per_step=sequences_per_step,
            val_fraction=val_fraction,
            first_sequences_per_step=first_sequences_per_step,
            growing_steps=growing_steps,
            first_seq_len=first_seq_len,
            lengthening_steps=lengthening_steps,
        )
        self.max_val_sequences = at_least("max_val_sequences", max_val_sequences, 0)
        self._mixing: Mixing | None = None
        self._parts: dict[str, dict[str, Any]] = {}
        self._batches: dict[str, Batches] = {}

    # -- what a subclass says ----------------------------------------------------------------

    @abstractmethod
    def rows_of(self, span: TokenSpan, split: str) -> Sequences:
        """Cuts the text of one corpus into rows; of what is not `train`, nothing is left over."""

    @abstractmethod
    def joined(self, parts: Sequence[Any]) -> Joined:
        """Puts the rows of several corpora together."""

    @abstractmethod
    def all_of(self, split: str, at_most: int = 0) -> DataLoader[Any]:
        """Yields every row of a split once, or at most so many of each corpus; 0 means all."""

    # -- its rows -----------------------------------------------------------------------------

    def sequences(self, split: str) -> Any:
        """Cuts a split into rows: those of all corpora, one behind the other."""
        parts = list(self.parts(split).values())
        return self.joined(parts) if self.mixture else parts[0]

    def parts(self, split: str) -> dict[str, Any]:
        """Gives the rows of each corpus that has such a split, by its name.

        Raises:
            DataError: None has.
        """
        if split not in self._parts:
            self._parts[split] = {
                name: self.rows_of(corpus.span(split), split)
                for name, corpus in self.corpora.with_split(split).items()
            }
        return self._parts[split]

    @property
    def n_train(self) -> int:
        """Counts the training rows, one epoch."""
        return len(self.sequences("train"))

    def describe(self) -> str:
        """Says in one line what is read, and how much of it."""
        if coming := self.corpora.to_be_made():
            return coming
        train, val = self.n_train, len(self.sequences("val"))
        return f"{self.path}: {train:,} sequences to train on, {val:,} to validate on"

    def whence(self, samples: Int64[np.ndarray, " B"]) -> str:
        """Says in which documents training samples start."""
        rows, names = self.sequences("train"), list(self.corpora.opened)
        found = {int(sample) for sample in samples if sample >= 0}
        parts = {each: names[rows.part_of(each)] if self.mixture else "" for each in found}
        documents = sorted({(part, rows.document_of(each)) for each, part in parts.items()})
        words = [f"{part} {number}".strip() for part, number in documents]
        return f"Its sequences start in the documents {first_few(words)}."

    # -- which row comes when ----------------------------------------------------------------

    @property
    def stream(self) -> Stream:
        """Which row comes at which place."""
        seed: int = self.trainer.seed  # type: ignore[union-attr]
        return self.mixing.stream(seed) if self.mixture else Shuffled(self.n_train, seed)

    @property
    def mixing(self) -> Mixing:
        """What is drawn from each corpus of a mixture, in this run."""
        if self._mixing is None:
            self._mixing = self._mix(self.trainer.max_steps)  # type: ignore[union-attr]
        return self._mixing

    def _mix(self, total_steps: int) -> Mixing:
        assert self.mixture is not None
        self._check_there_is_a_row()
        opened, parts = self.corpora.opened, self.parts("train")
        sizes = {name: opened[name].size(len(rows)) for name, rows in parts.items()}
        order, unit = self.order, self.sequences_per_step
        blend = self.mixture.blend(sizes, total_steps=total_steps, order=order, unit=unit)
        changes = self.mixture.changes(total_steps, sizes)
        return Mixing(sizes, blend, order=order, seq_len=self.seq_len, changes=changes)

    def forecast(self, total_steps: int) -> list[tuple[str, str]]:
        """Tells how long rows are, and what is drawn from the corpora of a mixture."""
        lines = super().forecast(total_steps)
        if not self.mixture:
            return lines
        if not self.is_ready:
            return [*lines, ("mixture", "its shares are known once the corpora are made")]
        table = self._mix(total_steps).table(total_steps)
        return lines + [("mixture" if n == 0 else "", line) for n, line in enumerate(table)]

    def step_metrics(self, first: int, stop: int, rows: int) -> dict[str, float]:
        """Tells of each corpus of a mixture how many tokens were read, and how often."""
        own = self.mixing.metrics(stop) if self.mixture else {}
        return {**super().step_metrics(first, stop, rows), **own}

    def read_until(self, step: int) -> dict[str, Any]:
        """Notes in a checkpoint what was drawn from each corpus of a mixture."""
        return self.mixing.state(step) if self.mixture else {}

    def check_past(self, noted: Mapping[str, Any], total_steps: int) -> None:
        """Checks that a mixture would have drawn what was drawn until the checkpoint.

        Raises:
            CheckpointError: It would not: some rows would come twice, and others never.
        """
        if self.mixture and noted:
            self._mix(total_steps).check(noted)

    # -- Lightning's hooks -------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Checks, before anything is built, that there is enough text."""
        self._mixing, self._parts, self._batches = None, {}, {}
        super().setup(stage)
        if stage == "fit":
            self._check_there_is_a_row()
            if self.mixture:
                self.remarks += self.mixing.remarks(self.trainer.max_steps)  # type: ignore[union-attr]

    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        """Yields every validation row once; no loader where there is no validation text."""
        self._check_any("val")
        return self.all_of("val", self.at_most("val")) if len(self.sequences("val")) else []

    def test_dataloader(self) -> DataLoader[Any]:
        """Yields every test row once.

        Raises:
            DataError: The corpus has no test split.
        """
        return self.all_of("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """Yields the test rows, or the validation rows where there are none."""
        split = "test" if self.corpora.has("test") else "val"
        self._check_any(split)
        return self.all_of(split)

    # -- how -----------------------------------------------------------------------------------

    def training_loader(self, dataset: Any) -> DataLoader[Any]:
        """Yields one item per optimizer step; what is streamed is fetched ahead of it."""
        stop: int = self.trainer.max_steps  # type: ignore[union-attr]
        return super().training_loader(warmed(dataset, self.corpora.streamed, stop))

    def evaluation_loader(self, dataset: Any) -> DataLoader[Any]:
        """Yields each item of a dataset once; what is streamed is fetched ahead of it."""
        return super().evaluation_loader(warmed(dataset, self.corpora.streamed, len(dataset)))

    @property
    def groups(self) -> Sequence[str]:
        """What a validation reports by itself as well: each corpus of a mixture."""
        return list(self.corpora.opened) if self.mixture else ()

    def group_of(self, split: str, batch: int) -> str:
        """Gives the corpus that a batch of `val` or `test` is of."""
        if split not in self._batches:
            self._batches[split] = self.batches(split, self.at_most(split))
        return list(self.parts(split))[self._batches[split].group_of(batch)]

    def batches(self, split: str, at_most: int) -> Batches:
        """Cuts a split into batches of one corpus each, in the order of its rows."""
        counts = [len(rows) for rows in self.parts(split).values()]
        size, ranks = self.share.rows * self._ranks, self._ranks
        return in_turn(counts, at_most, size, ranks=ranks, spread=self.longest_first)

    def at_most(self, split: str) -> int:
        """Gives how many rows of each corpus an evaluation of a split reads; 0 means all."""
        return self.max_val_sequences if split == "val" else 0

    def _check_any(self, split: str) -> None:
        """Raises ConfigError when text is asked for and there is none; a fit goes without."""
        asked = getattr(getattr(self.trainer, "state", None), "fn", None)
        if asked in ("validate", "predict") and not len(self.sequences(split)):
            raise ConfigError(
                f"There is no text to {'validate on' if asked == 'validate' else 'predict'}:"
                f" {self.path} has no validation split, and"
                f" data.val_fraction={self.val_fraction:g} keeps none of it."
                " Name shards that have one, in the same tokens: --data.shards FOLDER."
            )

    def _check_there_is_a_row(self) -> None:
        for name, rows in self.parts("train").items():
            if len(rows) == 0:
                n_tokens = len(self.corpora.opened[name].span("train"))
                text = f"The training text of {name}" if name else "The training text"
                shorter = f"Set data.seq_len to at most {n_tokens - 1:,}, or give"
                raise ConfigError(
                    f"{text} has {n_tokens:,} tokens: not one sequence of seq_len="
                    f"{self.seq_len:,}. {shorter if n_tokens > 2 else 'Give'} more text."
                )
