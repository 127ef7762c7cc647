"""What data modules of labelled rows share: sources, tokenizer, splits, steps of like lengths."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from torch.utils.data import DataLoader

from roots.batch import StepBatch
from roots.data.asked import asked_rows
from roots.data.base import StepData, first_few
from roots.data.cards import split_card
from roots.data.like_lengths import LikeLengths, padding_fraction
from roots.data.splits import Split, TaskEvaluation, TaskSteps
from roots.data.task_rows import TaskRows, check_held_out, no_rows, sum_of_rows
from roots.data.task_tokenizer import TaskTokenizer
from roots.errors import ConfigError, DataError
from roots.records import Row, plain
from roots.sources.rows import Columns, KnownTexts, RowSource, rows_from


class TaskData(TaskRows, TaskTokenizer, StepData):
    """Reads labelled rows, tokenizes them, and yields steps of rows of like length.

    Args:
        train: A file (csv, tsv, jsonl, json, parquet, …) of training rows, or a reader of rows.
        val: Validation rows; empty holds out a part of the training rows.
        test: Test rows; may be empty.
        tokenizer: A folder or hub name with the tokenizer; empty takes that of the network.
        seq_len: Tokens of a row at most; longer ones are cut, and how many is said.
        sequences_per_step: Rows of one optimizer step over all ranks and micro-batches.
        val_fraction: Share of the training rows that is held out where `val` is empty: copies of a
            text stay together, classes keep their shares, and each run has the same.
        fold: With `folds`, which of them is validated on, from 1.
        folds: Divide the training rows into so many parts for a cross-validation, as `val_fraction`
            divides them, and train on all parts but `fold`; 0 does not.
        like_lengths: Make each step of rows of like length, so that little is filled up.
        columns: The file's name for each field of the task, where they differ.
        on_bad_row: `error` ends at the first bad row; `skip` leaves bad rows out and counts them.
        max_bad_fraction: With `skip`, more bad rows than this share of all are an error.
        rejected_file: With `skip`, where the bad rows of the training data are written; empty
            writes them nowhere.

    Raises:
        ConfigError: A number that cannot work.
    """

    SHARED: ClassVar[Sequence[str]] = (
        "train",
        "val",
        "test",
        "tokenizer",
        "seq_len",
        "sequences_per_step",
        "val_fraction",
        "fold",
        "folds",
        "like_lengths",
        "columns",
        "on_bad_row",
        "max_bad_fraction",
        "rejected_file",
    )
    KEPT_AS: ClassVar[Mapping[str, str]] = {"tokenizer": "tokenizer_path"}
    SPLITS: ClassVar[Sequence[str]] = ("train", "val", "test", "predict")
    same_lengths = False

    def __init__(
        self,
        *,
        train: str | list[str] | RowSource,
        val: str | list[str] | RowSource = "",
        test: str | list[str] | RowSource = "",
        tokenizer: str = "",
        seq_len: int = 128,
        sequences_per_step: int = 32,
        val_fraction: float = 0.1,
        fold: int = 0,
        folds: int = 0,
        like_lengths: bool = True,
        columns: Mapping[str, str] | None = None,
        on_bad_row: str = "error",
        max_bad_fraction: float = 0.01,
        rejected_file: str = "",
    ) -> None:
        super().__init__(seq_len=seq_len, sequences_per_step=sequences_per_step)
        check_held_out(val, val_fraction, fold, folds)
        self.train = train
        self.val = val
        self.test = test
        self.tokenizer_path = tokenizer
        self.val_fraction = val_fraction
        self.fold = fold
        self.folds = folds
        self.like_lengths = like_lengths
        self.columns = dict(columns or {})
        self.on_bad_row = on_bad_row
        self.max_bad_fraction = max_bad_fraction
        self.rejected_file = rejected_file
        self._read_as = Columns(self.columns, fields=self.FIELDS, optional=self.OPTIONAL)
        self.predict_from = ""
        """The file of the rows to predict, without labels; empty takes `test`, or `val`."""
        self._splits: dict[str, Split] = {}
        self._trained_on: KnownTexts | None = None
        self._validates_as_told = False
        self._validated_on = ""
        self._order: LikeLengths | None = None

    # -- what it is made of ------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """The file of the training rows, or the first of several."""
        return rows_from(self.train).files()[0]

    @cached_property
    def fingerprint(self) -> str:
        """Changes when a training row or the tokenizer changes."""
        found = hashlib.sha256(self.tokenizer.fingerprint.encode())
        found.update(self.split("train").digest)
        return found.hexdigest()

    @property
    def validated_on(self) -> str:
        """Changes when a validation row changes; the same for every tokenizer."""
        self.split("val")
        return self._validated_on

    @property
    def n_train(self) -> int:
        """Counts the training rows."""
        return len(self.split("train"))

    @property
    def tokens_per_step(self) -> float:
        """Input tokens of one optimizer step over all ranks, in the mean."""
        return float(self.split("train").lengths.mean()) * self.sequences_per_step

    @property
    def most_tokens(self) -> int:
        """Tokens to which a longer row is cut."""
        return self.seq_len

    def split(self, name: str) -> Split:
        """Gives `train`, `val`, `test` or `predict`, read and tokenized once.

        Raises:
            DataError: A row is bad, or there is no such split.
        """
        if name not in self.SPLITS:
            raise DataError(f"There is no split {name!r}. Ask for one of {', '.join(self.SPLITS)}.")
        if name not in self._splits:
            self._read(name)
        return self._splits[name]

    def recall(self, told: Any) -> None:
        """Takes from a trained network what the training rows would tell.

        Rows that have a file of their own are read without the training rows from then on.

        Args:
            told: Has its `tokenizer` and `labels`, the `arguments` of the data that it was trained
                on, and knows whether `some_have_no_answer`.
        """
        self._is_told = True
        self._validates_as_told = plain(self.val) == told.arguments.get("val")
        self.tokenizer = told.tokenizer

    def describe(self) -> str:
        """Says in one line what is read, and how much of it."""
        train, val = self.split("train"), len(self.split("val"))
        cut = f", {train.n_cut:,} of them cut to {self.seq_len:,} tokens" if train.n_cut else ""
        return (
            f"{self.path}: {len(train):,} rows of {train.lengths.mean():.0f} tokens in the mean to"
            f" train on{cut}, {val:,} to validate on{self._held_in_words}"
        )

    def told(self, prediction: dict[str, Any]) -> dict[str, Any]:
        """Adds where the row stands."""
        where = self.split(self._predicted).where[prediction["sample"]]
        return {"where": where, **{k: v for k, v in prediction.items() if k != "sample"}}

    def whence(self, samples: Any) -> str:
        """Says which training rows samples are."""
        where = self.split("train").where
        return f"Its rows are {first_few([where[s] for s in samples if s >= 0])}."

    def card(self) -> dict[str, Any]:
        """Tells what the rows are: how many, how long, with which labels."""
        names: Sequence[str] = getattr(getattr(self, "labels", None), "names", ())
        splits = {name: split_card(split, names) for name, split in self._splits.items()}
        return {**super().card(), "splits": splits}

    # -- steps -------------------------------------------------------------------------------

    def tokens_until(self, step: int) -> int:
        """Counts the input tokens of the steps before `step`, over all ranks."""
        return self.order.tokens_until(step)

    def step_metrics(self, first: int, stop: int, rows: int) -> dict[str, float]:
        """Tells which share of the places in the micro-batches was filled up."""
        if first == stop:
            return {}
        sides = self.split("train").sides
        share = padding_fraction(self.order, first, stop, rows=rows, ranks=self._ranks, sides=sides)
        return {"train/padding_fraction": share}

    @property
    def order(self) -> LikeLengths:
        """Which training rows each step has."""
        if self._order is None:
            self._order = LikeLengths(
                self.split("train").lengths,
                rows_per_step=self.sequences_per_step,
                seed=self.trainer.seed,  # type: ignore[union-attr]
                sorts=self.like_lengths,
            )
        return self._order

    # -- Lightning's hooks -------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Reads and tokenizes what the stage needs."""
        module: Any = getattr(self.trainer, "lightning_module", None)
        if module is not None:
            self.take_tokenizer_of(module.builder)
        self._order = None
        if stage == "fit":
            self.split("train")
        super().setup(stage)

    def train_dataloader(self) -> DataLoader[StepBatch]:
        """Yields one batch per optimizer step, from the first that is not done."""
        return self.training_loader(TaskSteps(self.split("train"), self.order, self.share))

    def val_dataloader(self) -> DataLoader[StepBatch] | list[DataLoader[StepBatch]]:
        """Yields every validation row once; no loader where there are none."""
        self._check_any("val")
        return self._all_of("val") if len(self.split("val")) else []

    def test_dataloader(self) -> DataLoader[StepBatch]:
        """Yields every test row once."""
        return self._all_of("test")

    def predict_dataloader(self) -> DataLoader[StepBatch]:
        """Yields the rows of `predict_from`, else the test rows, else the validation rows."""
        self._check_any(self._predicted)
        return self._all_of(self._predicted)

    # -- how -----------------------------------------------------------------------------------

    @property
    def _predicted(self) -> str:
        return "predict" if self.predict_from else ("test" if self.test else "val")

    def _check_any(self, name: str) -> None:
        """Raises ConfigError when rows are asked for and there are none; a fit goes without."""
        asked: Any = self.trainer.state.fn if self.trainer else None
        if asked in ("validate", "predict") and not len(self.split(name)):
            raise ConfigError(no_rows(asked))

    def _all_of(self, name: str) -> DataLoader[StepBatch]:
        dataset = TaskEvaluation(self.split(name), share=self.share)
        return self.evaluation_loader(dataset)

    def _read(self, name: str) -> None:
        """Reads a split; the training rows come first where they tell the labels."""
        if name in ("test", "predict") or (name == "val" and self.val and self._is_told):
            if not self._is_told:
                self.split("train")
            elif name == "test" or not self._validates_as_told:
                self._trained_on = self._trained_on or self._texts_trained_on(name)
            asked = name == "predict"
            self._keep(name, asked_rows(self, self.predict_from) if asked else self._rows(name))
            return
        train, val = self._train_and_val()
        if self.val or self.test:
            self._trained_on = KnownTexts(train, text_of=self.learnt_by_heart)
        self._splits["train"] = self.make_split(train)
        self._keep("val", val)

    def _keep(self, name: str, rows: Sequence[Row]) -> None:
        """Keeps a split that is evaluated; tells what is cut, and what is trained on as well."""
        split = self._splits[name] = self.make_split(rows)
        if split.n_cut:
            counted = f"{name}: {split.n_cut:,} of {len(split):,} rows"
            self.remarks.append(f"{counted} are cut to at most {self.most_tokens:,} tokens")
        if self._trained_on and name != "predict":
            self.remarks += filter(None, [self._trained_on.shared_with(rows, name).remark()])
        if name == "val":
            self._validated_on = sum_of_rows(rows)
