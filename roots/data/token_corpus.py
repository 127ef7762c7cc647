"""Fixed-length windows over token shards, as a LightningDataModule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch.utils.data import DataLoader

from roots.batch import TokenBatch
from roots.data.joined import JoinedTokens
from roots.data.mixture import Mixture
from roots.data.shard_data import ShardData
from roots.data.steps import TrainSteps, ValidationSteps
from roots.data.windows import TokenRows, TokenSpan, Windows
from roots.shards import ShardMaker


class TokenCorpus(ShardData):
    """Reads token shards for causal language modelling.

    Args:
        shards: A folder of shards, as `roots corpus` writes it, or the corpus that makes one: it
            is made before the first step when it is not there yet. Or several of them, as a
            `roots.data.Mixture`.
        seq_len: Tokens in a sequence, T.
        sequences_per_step: Sequences of one optimizer step over all ranks and micro-batches.
        val_fraction: Share of the tokens kept for validation when the corpus made no validation
            split of its own: the last documents, or the end of the text where there is only one.
        max_val_sequences: Validate on at most so many sequences of each corpus, the first ones; 0
            means all.
        attend_across_documents: Whether the tokens of a sequence see those of the documents before
            their own in it; else attention and positions are kept apart, where the network can.

    Raises:
        ConfigError: A length or number that cannot work, or too little text for one sequence.
    """

    ARGUMENTS: ClassVar[Sequence[str]] = (*ShardData.ARGUMENTS, "attend_across_documents")

    def __init__(
        self,
        *,
        shards: str | ShardMaker | Mixture,
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

    def rows_of(self, span: TokenSpan, split: str) -> TokenRows:
        """Cuts the text of one corpus into rows."""
        return Windows(
            span,
            seq_len=self.seq_len,
            keep_last=split != "train",
            filler=self.tokenizer.eos_id,
            apart=not self.attend_across_documents,
        )

    def joined(self, parts: Sequence[TokenRows]) -> JoinedTokens:
        """Puts the rows of several corpora together."""
        return JoinedTokens(parts)

    def train_windows(self) -> Any:
        """The training sequences."""
        return self.sequences("train")

    def val_windows(self) -> Any:
        """The validation sequences."""
        return self.sequences("val")

    def train_dataloader(self) -> DataLoader[TokenBatch]:
        """Yields one TokenBatch per optimizer step, from the first that is not done."""
        dataset = TrainSteps(
            self.sequences("train"),
            self.token_bytes,
            stream=self.stream,
            order=self.order,
            share=self._share,
        )
        return self._training(dataset)

    def all_of(self, split: str) -> DataLoader[Any]:
        """Yields every sequence of a split once."""
        dataset = ValidationSteps(
            self.sequences(split),
            self.token_bytes,
            batches=self.batches(split),
            share=self._share,
        )
        return self._evaluation(dataset)
