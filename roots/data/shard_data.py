"""What data modules over token shards share: the shards, the tokenizer, which text is for what."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64
from torch.utils.data import DataLoader

from roots.data.base import StepData, at_least, first_few
from roots.data.windows import TokenSpan
from roots.errors import ConfigError, DataError
from roots.records import Vocabulary
from roots.shards import Shard, ShardFolder, ShardMaker
from roots.tokenizer import Tokenizer


@runtime_checkable
class Sequences(Protocol):
    """The rows that a stretch of tokens is cut into."""

    def __len__(self) -> int:
        """Counts them."""

    def document_of(self, index: int) -> int:
        """Gives the number of the document that row `index` starts in."""


class ShardData(StepData):
    """Reads token shards.

    Args:
        shards: A folder of shards, as `roots corpus` writes it, or the corpus that makes one: it
            is made before the first step when it is not there yet.
        seq_len: Tokens in a row, T.
        sequences_per_step: Rows of one optimizer step over all ranks and micro-batches.
        val_fraction: Share of the tokens kept for validation when the corpus made no validation
            split of its own: the last documents, or the end of the text where there is only one.
        max_val_sequences: Validate on at most so many rows, the first ones; 0 means all.

    Raises:
        ConfigError: A length or number that cannot work, or too little text for one row.
    """

    ARGUMENTS: ClassVar[Sequence[str]] = (
        "shards",
        "seq_len",
        "sequences_per_step",
        "val_fraction",
        "max_val_sequences",
    )

    def __init__(
        self,
        *,
        shards: str | ShardMaker,
        seq_len: int = 512,
        sequences_per_step: int = 32,
        val_fraction: float = 0.05,
        max_val_sequences: int = 0,
    ) -> None:
        super().__init__(seq_len=seq_len, sequences_per_step=sequences_per_step)
        self.shards = shards
        self.max_val_sequences = at_least("max_val_sequences", max_val_sequences, 0)
        if not 0 <= val_fraction < 1:
            raise ConfigError(
                f"val_fraction={val_fraction:g} is no share. Set it to at least 0 and less than 1."
            )
        self.val_fraction = val_fraction
        self._folder: ShardFolder | None = None
        self._tokenizer: Tokenizer | None = None

    # -- what a subclass says ----------------------------------------------------------------

    @abstractmethod
    def sequences(self, split: str) -> Sequences:
        """Cuts `train`, `val` or `test` into rows; of the last two, nothing is left over."""

    @abstractmethod
    def all_of(self, split: str) -> DataLoader[Any]:
        """Yields every row of a split once."""

    # -- what it is made of ------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """The folder of shards."""
        return self.shards.folder if isinstance(self.shards, ShardMaker) else Path(self.shards)

    @property
    def is_ready(self) -> bool:
        """Whether the shards are there."""
        if isinstance(self.shards, ShardMaker):
            return self.shards.is_ready()
        return self.path.exists()

    @property
    def folder(self) -> ShardFolder:
        """The opened shards."""
        if self._folder is None:
            self._folder = ShardFolder.open(self.path)
        return self._folder

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the shards were encoded with."""
        if self._tokenizer is None:
            self._tokenizer = Tokenizer.load(self.folder.tokenizer_path)
        return self._tokenizer

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens that occur; for shards that are not there yet, as they are planned."""
        if not self.is_ready and isinstance(self.shards, ShardMaker):
            size = self.shards.planned_vocab_size()
            return Vocabulary(size=size, eos_id=0, bos_id=0, pad_id=0)
        tokenizer = self.tokenizer
        return Vocabulary(
            size=tokenizer.vocab_size,
            eos_id=tokenizer.eos_id,
            bos_id=tokenizer.bos_id,
            pad_id=tokenizer.pad_id,
            mask_id=tokenizer.mask_id,
        )

    @property
    def fingerprint(self) -> str:
        """Changes when a token or the tokenizer changes."""
        return hashlib.sha256((self.path / "manifest.json").read_bytes()).hexdigest()

    @property
    def n_train(self) -> int:
        """Counts the training rows, one epoch."""
        return len(self.sequences("train"))

    def describe(self) -> str:
        """Says in one line what is read, and how much of it."""
        if not self.is_ready and isinstance(self.shards, ShardMaker):
            return self.shards.describe()
        train, val = self.n_train, len(self.sequences("val"))
        return f"{self.path}: {train:,} sequences to train on, {val:,} to validate on"

    def card(self) -> dict[str, Any]:
        """Tells what the corpus is, from its manifest."""
        manifest = self.folder.manifest
        splits = {
            name: {"documents": split.documents, "tokens": split.tokens, "bytes": split.bytes}
            for name, split in manifest.splits.items()
        }
        corpus = {
            "source": manifest.recipe.get("source"),
            "vocab_size": manifest.vocab_size,
            "documents_read": manifest.documents_read,
            "documents_dropped": dict(manifest.documents_dropped),
        }
        return {**super().card(), "splits": splits, "corpus": corpus}

    def documents_of(self, samples: Int64[np.ndarray, " B"]) -> list[int]:
        """Gives the number of the document that each training sample starts in."""
        rows = self.sequences("train")
        return [rows.document_of(int(sample)) for sample in samples if sample >= 0]

    def whence(self, samples: Int64[np.ndarray, " B"]) -> str:
        """Says in which documents training samples start."""
        documents = sorted(set(self.documents_of(samples)))
        return f"Its sequences start in the documents {first_few(documents)}."

    # -- Lightning's hooks -------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Makes the shards where they are to be made; runs once per machine."""
        if isinstance(self.shards, ShardMaker):
            self.shards.prepare()

    def setup(self, stage: str) -> None:
        """Checks, before anything is built, that there is enough text."""
        super().setup(stage)
        if stage == "fit":
            self._check_there_is_a_row()

    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        """Yields every validation row once; no loader where there is no validation text."""
        return self.all_of("val") if len(self.sequences("val")) else []

    def test_dataloader(self) -> DataLoader[Any]:
        """Yields every test row once.

        Raises:
            DataError: The corpus has no test split.
        """
        return self.all_of("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """Yields the test rows, or the validation rows where there are none."""
        return self.all_of("test" if "test" in self.folder.splits else "val")

    # -- how -----------------------------------------------------------------------------------

    @property
    def token_bytes(self) -> Int64[np.ndarray, " V"]:
        """UTF-8 bytes that each token stands for."""
        return np.asarray(self.tokenizer.byte_lengths(), dtype=np.int64)

    def at_most(self, n_rows: int) -> int:
        """Gives how many of the rows of an evaluation are read."""
        return min(n_rows, self.max_val_sequences) if self.max_val_sequences else n_rows

    def span(self, split: str) -> TokenSpan:
        """Finds the tokens of a split.

        Raises:
            DataError: The corpus has no test split.
        """
        if split in self.folder.splits and (split != "train" or "val" in self.folder.splits):
            shard = self.folder.shard(split)
            return TokenSpan(shard, 0, shard.n_tokens)
        if split == "test":
            raise DataError(
                f"{self.path} has no test split. Build the corpus with test_fraction above 0, or"
                " use `roots validate`."
            )
        shard = self.folder.shard("train")
        boundary = last_part(shard, self.val_fraction)
        start, stop = (0, boundary) if split == "train" else (boundary, shard.n_tokens)
        return TokenSpan(shard, start, stop)

    def _check_there_is_a_row(self) -> None:
        if len(self.sequences("train")) == 0:
            n_tokens = len(self.span("train"))
            raise ConfigError(
                f"The training text has {n_tokens:,} tokens: not one sequence of seq_len="
                f"{self.seq_len:,}. Set data.seq_len to at most {max(n_tokens - 1, 1):,},"
                " or give more text."
            )


def last_part(shard: Shard, fraction: float) -> int:
    """Finds where the last `fraction` of a shard starts: at a document, where one is near.

    In a single document of n tokens it is token `int(n * (1 - fraction))`, as nanoGPT divides its
    texts; the eos that closes the document is none of the n.

    Returns:
        A token position: the first start of a document at or behind the cut, or the cut itself
        where no document starts before half of the asked tokens are lost.
    """
    if shard.n_documents == 1 and fraction:
        return int((shard.n_tokens - 1) * (1 - fraction))
    asked = round(shard.n_tokens * fraction)
    cut = shard.n_tokens - asked
    starts = shard.document_ends(cut - 1, shard.n_tokens - 1) + 1
    near = len(starts) and starts[0] - cut <= asked // 2
    return int(starts[0]) if near else cut
