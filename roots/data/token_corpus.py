"""Fixed-length windows over token shards, as a LightningDataModule."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int64
from torch.utils.data import DataLoader

from roots.batch import TokenBatch
from roots.data.base import StepData, at_least, first_few
from roots.data.steps import TrainSteps, ValidationSteps
from roots.data.windows import TokenSpan, Windows
from roots.errors import ConfigError, DataError
from roots.records import Vocabulary
from roots.shards import Shard, ShardFolder, ShardMaker
from roots.tokenizer import Tokenizer


class TokenCorpus(StepData):
    """Reads token shards for language modelling.

    Args:
        shards: A folder of shards, as `roots corpus` writes it, or the corpus that makes one: it
            is made before the first step when it is not there yet.
        seq_len: Tokens in a sequence, T.
        sequences_per_step: Sequences of one optimizer step over all ranks and micro-batches.
        val_fraction: Share of the tokens kept for validation when the corpus made no validation
            split of its own: the last documents, or the end of the text where there is only one.
        max_val_sequences: Validate on at most so many sequences, the first ones; 0 means all.

    Raises:
        ConfigError: A length or number that cannot work, or too little text for one sequence.
    """

    ARGUMENTS: ClassVar = (
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
            return Vocabulary(size=size, eos_id=0, bos_id=0)
        tokenizer = self.tokenizer
        return Vocabulary(
            size=tokenizer.vocab_size, eos_id=tokenizer.eos_id, bos_id=tokenizer.bos_id
        )

    @property
    def fingerprint(self) -> str:
        """Changes when a token or the tokenizer changes."""
        return hashlib.sha256((self.path / "manifest.json").read_bytes()).hexdigest()

    @property
    def n_train(self) -> int:
        """Counts the training sequences, one epoch."""
        return len(self.train_windows())

    def describe(self) -> str:
        """Says in one line what is read, and how much of it."""
        if not self.is_ready and isinstance(self.shards, ShardMaker):
            return self.shards.describe()
        train, val = self.n_train, len(self.val_windows())
        return f"{self.path}: {train:,} sequences to train on, {val:,} to validate on"

    def train_windows(self) -> Windows:
        """The training sequences."""
        return self._windows("train", keep_last=False)

    def val_windows(self) -> Windows:
        """The validation sequences."""
        return self._windows("val", keep_last=True)

    def documents_of(self, samples: Int64[np.ndarray, " B"]) -> list[int]:
        """Gives the number of the document that each training sample starts in."""
        windows = self.train_windows()
        return [windows.document_of(int(sample)) for sample in samples if sample >= 0]

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
            self._check_train_windows()

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

    def val_dataloader(self) -> DataLoader[TokenBatch] | list[DataLoader[TokenBatch]]:
        """Yields every validation sequence once; no loader where there is no validation text."""
        windows = self.val_windows()
        return self._all_of(windows) if len(windows) else []

    def test_dataloader(self) -> DataLoader[TokenBatch]:
        """Yields every test sequence once.

        Raises:
            DataError: The corpus has no test split.
        """
        return self._all_of(self._windows("test", keep_last=True))

    def predict_dataloader(self) -> DataLoader[TokenBatch]:
        """Yields the test sequences, or the validation sequences where there are none."""
        split = "test" if "test" in self.folder.splits else "val"
        return self._all_of(self._windows(split, keep_last=True))

    # -- how -----------------------------------------------------------------------------------

    @property
    def token_bytes(self) -> Int64[np.ndarray, " V"]:
        """UTF-8 bytes that each token stands for."""
        return np.asarray(self.tokenizer.byte_lengths(), dtype=np.int64)

    def _all_of(self, windows: Windows) -> DataLoader[TokenBatch]:
        n_windows = len(windows)
        if self.max_val_sequences:
            n_windows = min(n_windows, self.max_val_sequences)
        dataset = ValidationSteps(
            windows, self.token_bytes, share=self._share, ranks=self._ranks, n_windows=n_windows
        )
        return self._evaluation(dataset)

    def _windows(self, split: str, *, keep_last: bool) -> Windows:
        span = self._span(split)
        return Windows(
            span, seq_len=self.seq_len, keep_last=keep_last, filler=self.tokenizer.eos_id
        )

    def _span(self, split: str) -> TokenSpan:
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

    def _check_train_windows(self) -> None:
        n_windows, n_tokens = len(self.train_windows()), len(self._span("train"))
        if n_windows == 0:
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
