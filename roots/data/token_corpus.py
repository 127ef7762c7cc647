"""Fixed-length windows over token shards, as a LightningDataModule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch.utils.data import DataLoader

from roots.batch import TokenBatch
from roots.data.best_fit_rows import BestFitRows
from roots.data.joined import JoinedTokens
from roots.data.mixture import Mixture
from roots.data.packing_plan import keep_packing
from roots.data.shard_data import ShardData
from roots.data.steps import TrainSteps, ValidationSteps
from roots.data.windows import TokenRows, TokenSpan, Windows
from roots.errors import ConfigError, nearest
from roots.shards import ShardMaker, Streamed

PACKINGS = ("chop", "best_fit")


class TokenCorpus(ShardData):
    """Reads token shards for causal language modelling.

    Args:
        shards: A folder of shards, as `roots corpus` writes it, its URL in an object store, or
            how to stream that (`roots.shards.Streamed`); or the corpus that makes one: it is made
            before the first step when it is not there yet. Or several, as a `roots.data.Mixture`.
        seq_len: Tokens in a sequence, T.
        sequences_per_step: Sequences of one optimizer step over all ranks and micro-batches.
        val_fraction: Share of the tokens kept for validation when the corpus made no validation
            split of its own: the last documents, or the end of the text where there is only one.
        max_val_sequences: Validate on at most so many sequences of each corpus, the first ones, or
            with `best_fit` some from all over them; 0 means all. A test reads all, and what is
            predicted is of all.
        first_sequences_per_step: Sequences of the first steps, a divisor of `sequences_per_step`,
            to which they grow in equal strides; 0 begins with all.
        growing_steps: Optimizer steps until then.
        first_seq_len: Tokens of a row in the first steps, `seq_len` halved some times; 0 begins
            with all. Each sequence is cut into so short rows, which see nothing of each other: a
            step has the tokens, in the order, that it would have anyway, and costs less attention.
            Rows then double, each length for as many steps. A validation reads whole sequences.
        lengthening_steps: Optimizer steps until rows have `seq_len` tokens.
        packing: How documents become rows: `chop` cuts the stream of them every `seq_len` tokens;
            `best_fit` puts whole ones together where they fit best, so that only those longer than
            a row are cut, and fills up what is left (counted among the tokens; on real text few in
            a thousand). Which share a row is worked out once and kept in ~/.cache/roots/packing.
        attend_across_documents: Whether the tokens of a sequence see those of the documents before
            their own in it; else attention and positions are kept apart, where the network can.

    Raises:
        ConfigError: A length or number that cannot work, or too little text for one sequence.

    Source:
        `best_fit`: Ding et al., "Fewer truncations improve language modeling", arXiv:2404.10830.
    """

    asks: ClassVar[str] = "next tokens"
    ARGUMENTS: ClassVar[Sequence[str]] = (
        *ShardData.ARGUMENTS,
        "packing",
        "attend_across_documents",
    )

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
        packing: str = "chop",
        attend_across_documents: bool = True,
    ) -> None:
        super().__init__(
            shards=shards,
            seq_len=seq_len,
            sequences_per_step=sequences_per_step,
            val_fraction=val_fraction,
            max_val_sequences=max_val_sequences,
            first_sequences_per_step=first_sequences_per_step,
            growing_steps=growing_steps,
            first_seq_len=first_seq_len,
            lengthening_steps=lengthening_steps,
        )
        if packing not in PACKINGS:
            raise ConfigError(
                f"There is no packing {packing!r}{nearest(packing, PACKINGS)}. Set data.packing to"
                f" one of {', '.join(PACKINGS)}."
            )
        self.packing = packing
        self.longest_first = packing == "best_fit"
        self.attend_across_documents = attend_across_documents

    @property
    def packed_by(self) -> str:
        """The setting that keeps documents of a row apart, or nothing where none does."""
        return "" if self.attend_across_documents else "data.attend_across_documents: false"

    # -- rows ----------------------------------------------------------------------------------

    def rows_of(self, span: TokenSpan, split: str) -> TokenRows:
        """Cuts the text of one corpus into rows."""
        filler, apart = self.tokenizer.eos_id, not self.attend_across_documents
        if self.packing == "best_fit":
            return BestFitRows(span, seq_len=self.seq_len, filler=filler, apart=apart)
        return Windows(
            span,
            seq_len=self.seq_len,
            keep_last=split != "train",
            filler=filler,
            apart=apart,
        )

    def prepare_data(self) -> None:
        """Makes the shards where they are to be made, and packs the documents, once per machine."""
        super().prepare_data()
        for split in ("train", "val", "test") if self.packing == "best_fit" else ():
            for corpus in self.corpora.opened.values():
                if split != "test" or split in corpus.folder.splits:
                    keep_packing(corpus.span(split), self.seq_len)

    def describe(self) -> str:
        """Says in one line what is read, and how much of it."""
        words = super().describe()
        if self.packing == "best_fit" and self.is_ready:
            parts = self.parts("train")
            filled = ", ".join(f"{rows.filled:.2%} {name}".strip() for name, rows in parts.items())
            words += f"; no document that fits is cut, rows are filled to {filled}"
        return words

    def joined(self, parts: Sequence[TokenRows]) -> JoinedTokens:
        """Puts the rows of several corpora together."""
        return JoinedTokens(parts)

    def train_dataloader(self) -> DataLoader[TokenBatch]:
        """Yields one TokenBatch per optimizer step, from the first that is not done."""
        dataset = TrainSteps(
            self.sequences("train"),
            self.token_bytes,
            stream=self.stream,
            order=self.order,
            share=self.share,
            lengthening=self._lengthening,
        )
        return self.training_loader(dataset)

    def all_of(self, split: str, at_most: int = 0) -> DataLoader[Any]:
        """Yields sequences of a split, each once."""
        dataset = ValidationSteps(
            self.sequences(split),
            self.token_bytes,
            batches=self.batches(split, at_most),
            share=self.share,
        )
        return self.evaluation_loader(dataset)
