"""Fixed-length windows over token shards, as a LightningDataModule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch.utils.data import DataLoader

from roots.batch import TokenBatch
from roots.data.shard_data import ShardData
from roots.data.steps import TrainSteps, ValidationSteps
from roots.data.windows import Windows
from roots.shards import ShardMaker


class TokenCorpus(ShardData):
    """Reads token shards for causal language modelling.

    Args:
        shards: A folder of shards, as `roots corpus` writes it, or the corpus that makes one: it
            is made before the first step when it is not there yet.
        seq_len: Tokens in a sequence, T.
        sequences_per_step: Sequences of one optimizer step over all ranks and micro-batches.
        val_fraction: Share of the tokens kept for validation when the corpus made no validation
            split of its own: the last documents, or the end of the text where there is only one.
        max_val_sequences: Validate on at most so many sequences, the first ones; 0 means all.
        attend_across_documents: Whether the tokens of a sequence see those of the documents before
            their own in it; else attention and positions are kept apart, where the network can.

    Raises:
        ConfigError: A length or number that cannot work, or too little text for one sequence.
    """

    ARGUMENTS: ClassVar[Sequence[str]] = (*ShardData.ARGUMENTS, "attend_across_documents")

    def __init__(
        self,
        *,
        shards: str | ShardMaker,
        seq_len: int = 512,
        sequences_per_step: int = 32,
        val_fraction: float = 0.05,
        max_val_sequences: int = 0,
        attend_across_documents: bool = True,
    ) -> None:
        super().__init__(
            shards=shards,
            seq_len=seq_len,
            sequences_per_step=sequences_per_step,
            val_fraction=val_fraction,
            max_val_sequences=max_val_sequences,
        )
        self.attend_across_documents = attend_across_documents

    @property
    def packed_by(self) -> str:
        """The setting that keeps documents of a row apart, or nothing where none does."""
        return "" if self.attend_across_documents else "data.attend_across_documents: false"

    def sequences(self, split: str) -> Windows:
        """Cuts a split into windows."""
        return Windows(
            self.span(split),
            seq_len=self.seq_len,
            keep_last=split != "train",
            filler=self.tokenizer.eos_id,
            apart=not self.attend_across_documents,
        )

    def train_windows(self) -> Windows:
        """The training sequences."""
        return self.sequences("train")

    def val_windows(self) -> Windows:
        """The validation sequences."""
        return self.sequences("val")

    def train_dataloader(self) -> DataLoader[TokenBatch]:
        """Yields one TokenBatch per optimizer step, from the first that is not done."""
        dataset = TrainSteps(
            self.train_windows(),
            self.token_bytes,
            share=self._share,
            sequences_per_step=self.sequences_per_step,
            seed=self.trainer.seed,  # type: ignore[union-attr]
        )
        return self._training(dataset)

    def all_of(self, split: str) -> DataLoader[Any]:
        """Yields every sequence of a split once."""
        windows = self.sequences(split)
        dataset = ValidationSteps(
            windows,
            self.token_bytes,
            share=self._share,
            ranks=self._ranks,
            n_windows=self.at_most(len(windows)),
        )
        return self._evaluation(dataset)
