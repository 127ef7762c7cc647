"""What every data module of roots tells: one item is one rank's share of one optimizer step."""

from __future__ import annotations

import bisect
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
from torch.utils.data import DataLoader, Dataset

from roots.data.steps import Share, StepsFrom, share_of, step_loader
from roots.errors import ConfigError
from roots.records import Vocabulary, class_path, plain
from roots.tokenizer import Tokenizer


class StepData(L.LightningDataModule, ABC):
    """Yields step batches: which samples a step has is a pure function of seed and step.

    One of your own returns `self.training_loader(dataset)` from `train_dataloader`, and
    `self.evaluation_loader(dataset)` from `val_dataloader`.

    Args:
        seq_len: Tokens in a row: of each, or at most.
        sequences_per_step: Rows of one optimizer step over all ranks and micro-batches.

    Raises:
        ConfigError: A number that cannot work.
    """

    SHARED: ClassVar[Sequence[str]] = ()
    """The arguments that a family of data modules has in common."""

    KEPT_AS: ClassVar[Mapping[str, str]] = {}
    """Arguments that are kept under another name: theirs is that of what is made of them."""

    ARGUMENTS: ClassVar[Sequence[str]] = ()
    """The constructor's other arguments."""

    same_lengths = True
    """Whether every row has `seq_len` tokens."""

    rows_are: ClassVar[str] = "sequences"
    """What a plan calls the rows of a step."""

    asks: ClassVar[str] = ""
    """What of a row a network is to say; a module of roots `learns` one such thing."""

    def __init__(self, *, seq_len: int, sequences_per_step: int) -> None:
        super().__init__()
        self.seq_len = at_least("seq_len", seq_len, 2)
        self.sequences_per_step = at_least("sequences_per_step", sequences_per_step, 1)
        self.remarks: list[str] = []
        """What was found when the data were read, in words."""

    # -- what it is made of ------------------------------------------------------------------

    @property
    @abstractmethod
    def path(self) -> Path:
        """Where the data lie, for a person."""

    @property
    def is_ready(self) -> bool:
        """Whether the data are there; else `prepare_data` makes them."""
        return True

    @property
    @abstractmethod
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the rows are encoded with."""

    @property
    @abstractmethod
    def vocabulary(self) -> Vocabulary:
        """The tokens that occur; for data that are not there yet, as they are planned."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Changes when a row or the tokenizer changes."""

    @property
    def validated_on(self) -> str:
        """Changes when a row that is validated on changes; empty where `fingerprint` tells it."""
        return ""

    @property
    @abstractmethod
    def n_train(self) -> int:
        """Counts the training rows, one epoch."""

    @abstractmethod
    def describe(self) -> str:
        """Says in one line what is read, and how much of it."""

    @property
    def spec(self) -> dict[str, Any]:
        """The plain form of this data module."""
        names = (*self.SHARED, *self.ARGUMENTS)
        arguments = {name: plain(getattr(self, self.KEPT_AS.get(name, name))) for name in names}
        return {"class_path": class_path(type(self)), "init_args": arguments}

    @property
    def tokens_per_step(self) -> float:
        """Input tokens of one optimizer step over all ranks, in the mean."""
        return self.seq_len * self.sequences_per_step

    @property
    def labelled_fraction(self) -> float:
        """Share of the tokens that have a label, in the mean: so many meet a network's head."""
        return 1.0

    @property
    def growth(self) -> str:
        """Says how the rows of a step grow, behind a comma; nothing where they do not."""
        return ""

    @property
    def made_folders(self) -> Sequence[Path]:
        """The folders that `prepare_data` makes."""
        return ()

    @property
    def replaced(self) -> Mapping[str, tuple[Path, str]]:
        """The folders that are there and `prepare_data` would replace: by setting, with why."""
        return {}

    @property
    def packed_by(self) -> str:
        """The setting that keeps the documents of a row apart; nothing where none does."""
        return ""

    def tokens_until(self, step: int) -> int:
        """Counts the input tokens of the steps before `step`, over all ranks."""
        return self.rows_until(step) * self.seq_len

    @property
    def lengths(self) -> Sequence[int]:
        """The lengths that training rows have in turn, where all of a step have the same."""
        return (self.seq_len,)

    @property
    def n_sizes(self) -> int:
        """Counts the sizes that steps have in turn."""
        return 1

    def length_at(self, step: int) -> int:  # noqa: ARG002
        """Counts the tokens of a training row of a step, or gives the most it may have."""
        return self.seq_len

    def cuts_at(self, step: int) -> int:  # noqa: ARG002
        """Counts the rows that each sequence of a step is cut into."""
        return 1

    def read_per_token(self, length: int) -> float:  # noqa: ARG002
        """Counts what a network reads for each token of a sequence, in rows of a length.

        More than one is where the pieces of a sequence have special tokens of their own.
        """
        return 1.0

    def tokens_by_length(self, first: int, stop: int) -> dict[int, int]:
        """Counts the tokens of the steps from `first` to before `stop`, by their rows' length."""
        return {self.seq_len: self.tokens_until(stop) - self.tokens_until(first)}

    def rows_until(self, step: int) -> int:
        """Counts the rows of the steps before `step`, over all ranks."""
        return step * self.sequences_per_step

    def steps_for(self, n_rows: float) -> int:
        """Gives the fewest steps that have so many rows."""
        return bisect.bisect_left(range(math.ceil(n_rows)), n_rows, key=self.rows_until)

    def step_metrics(self, first: int, stop: int, rows: int) -> dict[str, float]:  # noqa: ARG002
        """Measures the steps from `first` to before `stop`, cut into micro-batches of `rows`."""
        return {}

    def forecast(self, total_steps: int) -> list[tuple[str, str]]:  # noqa: ARG002
        """Tells what a run of so many steps would read, as lines of a plan."""
        return []

    def read_until(self, step: int) -> dict[str, Any]:  # noqa: ARG002
        """Notes for a checkpoint what was read before `step`, where settings may change that."""
        return {}

    def check_past(self, noted: Mapping[str, Any], total_steps: int) -> None:
        """Checks that a run goes on where it was: that it would have read what was noted."""

    @property
    def groups(self) -> Sequence[str]:
        """What a validation reports by itself as well, by its name."""
        return ()

    def group_of(self, split: str, batch: int) -> str:  # noqa: ARG002
        """Gives the group that a batch of `val` or `test` is of."""
        return ""

    @abstractmethod
    def whence(self, samples: Any) -> str:
        """Says in a sentence where training rows come from, for a message."""

    def told(self, prediction: dict[str, Any]) -> dict[str, Any]:
        """Adds to what was predicted of a row what the data know of it."""
        return prediction

    def quoted(self, split: str, sample: int, place: int) -> dict[str, Any]:  # noqa: ARG002
        """Tells a person where a row of a split stands, and how it reads; nothing where unknown.

        Args:
            split: `train`, `val` or `test`.
            sample: The row's number.
            place: The token that is meant, where it is one of the row's.
        """
        return {}

    def card(self) -> dict[str, Any]:
        """Tells what the data are, as plain values: for the pages of a run."""
        return {
            "description": self.describe(),
            "path": str(self.path),
            "fingerprint": self.fingerprint,
            "remarks": list(self.remarks),
        }

    def take_tokenizer_of(self, builder: Any) -> None:
        """Takes the tokenizer of a network that brings one; data that have their own take none."""

    # -- how it is read ----------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Checks, before anything is built, that the ranks divide a step."""
        if stage != "fit":
            share_of(self.sequences_per_step, rank=0, ranks=self._ranks)
            return
        self.check_ranks(self._ranks, getattr(self.trainer, "resumed_from", 0))
        settle = getattr(self.trainer, "settle", None)
        if settle is not None:  # a Trainer of Lightning has no epochs of ours
            settle(self)

    def check_ranks(self, ranks: int, step: int) -> None:  # noqa: ARG002
        """Checks that ranks divide each step of a fit that `step` steps are done of."""
        share_of(self.sequences_per_step, rank=0, ranks=ranks)

    def training_loader(self, dataset: Dataset[Any]) -> DataLoader[Any]:
        """Yields one item per optimizer step, from the first that is not done.

        Args:
            dataset: Item n is a StepBatch: this rank's `share` of the n-th step, with `step` n.
        """
        trainer: Any = self.trainer
        sampler = StepsFrom(lambda: int(trainer.global_step), trainer.max_steps)
        return step_loader(dataset, sampler, pin=self._pin)

    def evaluation_loader(self, dataset: Dataset[Any]) -> DataLoader[Any]:
        """Yields each item of a dataset once: StepBatches, as many on every rank."""
        return step_loader(dataset, None, pin=self._pin)

    @property
    def share(self) -> Share:
        """The rows of a step that this rank reads."""
        strategy = self._strategy
        return share_of(
            self.sequences_per_step,
            rank=strategy.data_parallel_rank,
            ranks=strategy.data_parallel_size,
        )

    @property
    def _ranks(self) -> int:
        return int(self._strategy.data_parallel_size) if self.trainer else 1

    @property
    def _strategy(self) -> Any:
        """The trainer's strategy, which says who reads which rows of a step."""
        strategy: Any = self.trainer.strategy  # type: ignore[union-attr]
        if not hasattr(strategy, "data_parallel_size"):
            raise ConfigError(
                f"{type(strategy).__name__} of Lightning's own Trainer does not say which rows of a"
                " step a rank reads. Use roots.fit.Trainer in its place."
            )
        return strategy

    @property
    def _pin(self) -> bool:
        return bool(self.trainer and self.trainer.strategy.root_device.type == "cuda")


def first_few(names: Sequence[object], n: int = 8) -> str:
    """Words the first of many names."""
    return ", ".join(map(str, names[:n])) + (", …" if len(names) > n else "")


def at_least(name: str, value: int, least: int) -> int:
    """Gives `value` back; raises ConfigError when it is below `least`."""
    if value < least:
        raise ConfigError(f"{name}={value} is too small. Set data.{name} to {least} or more.")
    return value
