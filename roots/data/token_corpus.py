"""Fixed-length windows over token shards, as a LightningDataModule."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from jaxtyping import Int64
from torch.utils.data import DataLoader

from roots.batch import StepBatch
from roots.data.steps import (
    Share,
    StepsFrom,
    TrainSteps,
    ValidationSteps,
    share_of,
    step_loader,
)
from roots.data.windows import TokenSpan, Windows
from roots.errors import ConfigError, DataError
from roots.records import Vocabulary, plain
from roots.shards import Shard, ShardFolder, ShardMaker
from roots.tokenizer import Tokenizer


class TokenCorpus(L.LightningDataModule):
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

    def __init__(
        self,
        *,
        shards: str | ShardMaker,
        seq_len: int = 512,
        sequences_per_step: int = 32,
        val_fraction: float = 0.05,
        max_val_sequences: int = 0,
    ) -> None:
        super().__init__()
        self.shards = shards
        self.seq_len = _at_least("seq_len", seq_len, 2)
        self.sequences_per_step = _at_least("sequences_per_step", sequences_per_step, 1)
        self.max_val_sequences = _at_least("max_val_sequences", max_val_sequences, 0)
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
    def spec(self) -> dict[str, Any]:
        """The plain form of this data module."""
        names = (
            "shards",
            "seq_len",
            "sequences_per_step",
            "val_fraction",
            "max_val_sequences",
        )
        arguments = {name: plain(getattr(self, name)) for name in names}
        return {"class_path": "roots.data.TokenCorpus", "init_args": arguments}

    @property
    def fingerprint(self) -> str:
        """Changes when a token or the tokenizer changes."""
        return hashlib.sha256((self.path / "manifest.json").read_bytes()).hexdigest()

    @property
    def tokens_per_step(self) -> int:
        """Input tokens of one optimizer step over all ranks."""
        return self.seq_len * self.sequences_per_step

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

    # -- Lightning's hooks -------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Makes the shards where they are to be made; runs once per machine."""
        if isinstance(self.shards, ShardMaker):
            self.shards.prepare()

    def setup(self, stage: str) -> None:
        """Checks, before anything is built, that there is enough text."""
        share_of(self.sequences_per_step, rank=0, ranks=self._ranks)
        if stage == "fit":
            self._check_train_windows()

    def train_dataloader(self) -> DataLoader[StepBatch]:
        """Yields one StepBatch per optimizer step, from the first that is not done."""
        trainer: Any = self.trainer
        dataset = TrainSteps(
            self.train_windows(),
            self.token_bytes,
            share=self._share,
            sequences_per_step=self.sequences_per_step,
            seed=trainer.seed,
        )
        sampler = StepsFrom(lambda: int(trainer.global_step), trainer.max_steps)
        return step_loader(dataset, sampler, pin=self._pin)

    def val_dataloader(self) -> DataLoader[StepBatch] | list[DataLoader[StepBatch]]:
        """Yields every validation sequence once; no loader where there is no validation text."""
        windows = self.val_windows()
        return self._evaluation(windows) if len(windows) else []

    def test_dataloader(self) -> DataLoader[StepBatch]:
        """Yields every test sequence once.

        Raises:
            DataError: The corpus has no test split.
        """
        return self._evaluation(self._windows("test", keep_last=True))

    def predict_dataloader(self) -> DataLoader[StepBatch]:
        """Yields the test sequences, or the validation sequences where there are none."""
        split = "test" if "test" in self.folder.splits else "val"
        return self._evaluation(self._windows(split, keep_last=True))

    # -- how -----------------------------------------------------------------------------------

    @property
    def token_bytes(self) -> Int64[np.ndarray, " V"]:
        """UTF-8 bytes that each token stands for."""
        return np.asarray(self.tokenizer.byte_lengths(), dtype=np.int64)

    @property
    def _ranks(self) -> int:
        trainer: Any = self.trainer
        return int(trainer.strategy.data_parallel_size) if trainer else 1

    @property
    def _share(self) -> Share:
        strategy: Any = self.trainer.strategy  # type: ignore[union-attr]
        return share_of(
            self.sequences_per_step,
            rank=strategy.data_parallel_rank,
            ranks=strategy.data_parallel_size,
        )

    @property
    def _pin(self) -> bool:
        return bool(self.trainer and self.trainer.strategy.root_device.type == "cuda")

    def _evaluation(self, windows: Windows) -> DataLoader[StepBatch]:
        n_windows = len(windows)
        if self.max_val_sequences:
            n_windows = min(n_windows, self.max_val_sequences)
        dataset = ValidationSteps(
            windows, self.token_bytes, share=self._share, ranks=self._ranks, n_windows=n_windows
        )
        return step_loader(dataset, None, pin=self._pin)

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


def _at_least(name: str, value: int, least: int) -> int:
    if value < least:
        raise ConfigError(f"{name}={value} is too small. Set data.{name} to {least} or more.")
    return value
