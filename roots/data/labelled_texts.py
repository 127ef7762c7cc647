"""Texts, or pairs of texts, with a label: a class, several classes, or a value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Int64, Shaped
from torch.utils.data import DataLoader

from roots.batch import IGNORE, StepBatch
from roots.data.augment import Augment
from roots.data.augmented import AugmentedSteps
from roots.data.cards import quotation
from roots.data.splits import Split, framed_split
from roots.data.task_data import TaskData
from roots.data.task_rows import passed
from roots.data.text_pairs import PAIR, SecondText, are_pairs, text_of
from roots.errors import ConfigError
from roots.objectives import balanced
from roots.records import Labels, Row, rebuild
from roots.sources.rows import (
    Check,
    HasText,
    LabelSet,
    ManyLabels,
    Number,
    OneLabel,
    RowSource,
    check_some_lack,
)
from roots.tokenizer import Framing


class LabelledTexts(TaskData):
    """Reads texts with labels: fields `text`, `label`, and `text_pair` where there are pairs.

    The training rows are pairs, all or none, and so must all rows be that the network is asked
    about.

    Args:
        train: A file (csv, tsv, jsonl, json, parquet, …) of training rows, or a reader of rows.
        val: Validation rows; empty holds out a part of the training rows.
        test: Test rows; may be empty.
        kind: What a label is: `one` class, `many` classes (a list, or names with commas), or a
            `value`, a number.
        labels: The classes in the order of their numbers, or a file that names one a line; empty
            takes those that occur in the training rows, sorted.
        augment: Change the training texts a little in each epoch: `{class_path:
            roots.data.Augment, init_args: {drop: 0.1, swap: 0.1}}`.
        tokenizer: A folder or hub name with the tokenizer; empty takes that of the network.
        seq_len: Tokens of a row at most; longer ones are cut, and how many is said.
        sequences_per_step: Rows of one optimizer step over all ranks and micro-batches.
        val_fraction: Share of the training rows that is held out where `val` is empty: copies of a
            text stay together, classes keep their shares, and each run has the same.
        fold: With `folds`, which of them is validated on, from 1.
        folds: Divide the training rows into so many parts for a cross-validation, as `val_fraction`
            divides them, and train on all parts but `fold`; 0 does not.
        like_lengths: Make each step of rows of like length, so that little is filled up.
        columns: The file's name for each field, where they differ: `{text: sentence}`.
        on_bad_row: `error` ends at the first bad row; `skip` leaves bad rows out and counts them.
        max_bad_fraction: With `skip`, more bad rows than this share of all are an error.
        rejected_file: With `skip`, where the bad rows of the training data are written; empty
            writes them nowhere.

    Raises:
        ConfigError: A number that cannot work, or labels beside `kind: value`.
    """

    asks: ClassVar[str] = "the class of a text"
    ARGUMENTS: ClassVar[Sequence[str]] = ("kind", "labels", "augment")
    KEPT_AS: ClassVar = {**TaskData.KEPT_AS, "labels": "given_labels"}
    FIELDS: ClassVar[Sequence[str]] = ("text", "label")
    OPTIONAL: ClassVar[Sequence[str]] = (PAIR,)
    LABELS: ClassVar[Sequence[str]] = ("label",)
    LINE: ClassVar[str] = "text"
    _pairs: bool | None = None

    def __init__(
        self,
        *,
        train: str | list[str] | RowSource,
        val: str | list[str] | RowSource = "",
        test: str | list[str] | RowSource = "",
        kind: Literal["one", "many", "value"] = "one",
        labels: str | list[str] = "",
        augment: Augment | None = None,
        tokenizer: str = "",
        seq_len: int = 128,
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
        super().__init__(
            train=train,
            val=val,
            test=test,
            tokenizer=tokenizer,
            seq_len=seq_len,
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
        if kind not in ("one", "many", "value"):
            raise ConfigError(f"data.kind={kind!r} is none of one, many, value. Set one of them.")
        if kind == "value" and labels:
            raise ConfigError("data.labels names classes, and data.kind: value has none. Drop one.")
        self.kind = kind
        self.augment = None if augment is None else rebuild(augment, Augment)
        self._take_labels(labels)
        self._quotes: dict[str, list[str]] = {}

    @property
    def labels(self) -> Labels:
        """The kind of the labels, and the classes."""
        if self.kind == "value":
            return Labels(kind="value")
        if self._labels is None:
            self.split("train")
        assert self._labels is not None
        return Labels(kind=self.kind, names=self._labels.names)

    @cached_property
    def fingerprint(self) -> str:
        """Changes when a training row, the tokenizer, a synonym or another wording changes."""
        of_rows = super().fingerprint
        if self.augment:  # a run that goes on where the wordings are gone has them made again
            self.augment.prepare(self._training_texts())
        return (
            self.augment.fingerprint(of_rows, self._training_texts()) if self.augment else of_rows
        )

    @property
    def pairs(self) -> bool | None:
        """Whether the training rows are pairs of texts; None where a run does not say."""
        if self._pairs is None and not self._is_told:
            self.split("train")
        return self._pairs

    def balanced_weights(self) -> list[float]:
        """Weighs each class by how rare it is among the training rows; 1 where it never is.

        There are no weights where no training rows are read.
        """
        if self._is_told:
            return []
        labels = self.split("train").labels
        return balanced(labels, len(self.labels.names))

    def recall(self, told: Any) -> None:
        """Takes the labels as well, and whether rows are pairs."""
        super().recall(told)
        self._pairs = told.pairs
        if self.kind != "value":
            self._recall_labels(told)

    # -- rows --------------------------------------------------------------------------------

    def fields(self) -> Sequence[str]:
        """Both texts, where the training rows are pairs."""
        return [*self.FIELDS, *([PAIR] if self._pairs else [])]

    def checks(self) -> Sequence[Check]:
        """A text, a second one where training rows have one, and a label of the right kind."""
        return [HasText("text"), SecondText(self._pairs, self.columns), self._label_check()]

    def checks_when_asked(self) -> Sequence[Check]:
        """A text."""
        return self.checks()[:-1]

    def learn(self, rows: list[Row]) -> list[Row]:
        """Takes whether rows are pairs, and the classes where they are not given."""
        self._pairs = are_pairs(rows, self.columns)
        if self.kind == "value":
            return rows
        found: list[Any] = [row.fields["label"] for row in rows]
        each: list[Any] = found if self.kind == "one" else [n for names in found for n in names]
        if self.kind == "many":
            check_some_lack(found, "label")
        if self._labels is not None:
            self._labels.check_all_seen(set(each), "label")
            return rows
        self._known = LabelSet.of(each, "label")
        return passed(rows, self._label_check())

    def classes_of(self, row: Row) -> Sequence[str]:
        """The names of the classes."""
        if self._labels is None:
            return ()
        label: Any = row.fields["label"]
        return [self._labels.names[number] for number in ([label] if self.kind == "one" else label)]

    def class_of(self, row: Row) -> str | None:
        """The name of the class, where there is one."""
        return self.classes_of(row)[0] if self.kind == "one" else None

    def texts_of(self, row: Row) -> str:
        """The text, or both of a pair."""
        return f"{row.fields['text']}\0{row.fields.get(PAIR, '')}"

    def make_split(self, rows: Sequence[Row]) -> Split:
        """Tokenizes the texts, with the special tokens that the network expects."""
        framing = Framing(self.tokenizer, max_tokens=self.seq_len)
        texts = [text_of(row) for row in rows]
        if not framing.parts_pairs and any(isinstance(text, tuple) for text in texts):
            self._remark_on_pairs()
        split = framed_split(
            framing.frame(texts),
            labels=self._numbers(rows),
            where=[row.where for row in rows],
            pad_id=self.tokenizer.pad_id,
        )
        return replace(split, texts=texts) if self.augment else split

    def _remark_on_pairs(self) -> None:
        remark = (
            "this tokenizer puts nothing between the two texts of a pair: that one ends and the"
            " other begins, the network is not told. End each first text by a mark of your own, or"
            " take a network whose tokenizer has a separator"
        )
        if remark not in self.remarks:
            self.remarks.append(remark)

    def describe(self) -> str:
        """Says in one line what is read, and how much of it."""
        if self.augment is not None:  # other wordings are made when a run begins
            self.augment.check()
        return super().describe() + self._wordings_in_words()

    def prepare_data(self) -> None:
        """Says the training texts in other words, where that is asked for and not done yet."""
        asked: Any = self.trainer.state.fn if self.trainer else "fit"
        if self.augment is not None and asked in (None, "fit"):
            self.augment.prepare(self._training_texts())

    def setup(self, stage: str) -> None:
        """Reads and tokenizes what the stage needs."""
        if stage == "fit" and self.augment is not None:
            self.augment.check(self._training_texts())
        super().setup(stage)

    def train_dataloader(self) -> DataLoader[StepBatch]:
        """Yields one batch per optimizer step, its texts changed where that is asked for."""
        if self.augment is None:
            return super().train_dataloader()
        split, framing = self.split("train"), Framing(self.tokenizer, max_tokens=self.seq_len)

        def framed(texts: Sequence[str | tuple[str, str]], rows: Int64[np.ndarray, " B"]) -> Split:
            labels, where = split.labels[rows], [split.where[row] for row in rows]  # type: ignore[index]
            return framed_split(
                framing.frame(texts), labels=labels, where=where, pad_id=split.pad_id
            )

        steps = AugmentedSteps(
            split,
            self.order,
            self.share,
            augment=self.augment,
            framed=framed,
            seed=self.trainer.seed,  # type: ignore[union-attr]
        )
        return self.training_loader(steps)

    def quoted(self, split: str, sample: int, place: int) -> dict[str, Any]:  # noqa: ARG002
        """Tells where a row stands, and how its text begins: of a split that is evaluated."""
        return {"where": self.split(split).where[sample], "text": self._quotes[split][sample]}

    # -- how -----------------------------------------------------------------------------------

    def _training_texts(self) -> Iterator[str]:
        """Gives the training texts, both of pairs; none where they are in no other words."""
        if self.augment is None or self.augment.back_translation is None:
            return
        for text in self.split("train").texts:
            yield from (text,) if isinstance(text, str) else text

    def _wordings_in_words(self) -> str:
        """Words how many training texts have other wordings, behind a comma."""
        if self.augment is None or self.augment.back_translation is None:
            return ""
        texts, said = set(self._training_texts()), self.augment.back_translation
        if lacking := len(said.lacking(texts)):
            said.check_networks()
        n_said = sum(bool(said.wordings.get(text)) for text in texts)
        made = f", {lacking:,} still to be translated" if lacking else ""
        return f"; {n_said:,} of {len(texts):,} texts have other wordings in {said.folder}{made}"

    def _keep(self, name: str, rows: Sequence[Row]) -> None:
        """Keeps the beginnings of the texts as well, to quote them: every row has its place."""
        super()._keep(name, rows)
        whole = (self.texts_of(row).strip("\0").replace("\0", " ⏐ ") for row in rows)
        self._quotes[name] = [quotation(text) for text in whole]

    def _label_check(self) -> Check:
        label: dict[str, Check] = {
            "one": OneLabel("label", self._labels),
            "many": ManyLabels("label", self._labels),
            "value": Number("label"),
        }
        return label[self.kind]

    def _numbers(self, rows: Sequence[Row]) -> Shaped[np.ndarray, "R ..."]:
        """Gives the labels as numbers; a row that is only asked about has none."""
        found: list[Any] = [row.fields["label"] for row in rows]
        if self.kind == "value":
            return np.array([np.nan if each is None else each for each in found], dtype=np.float32)
        if self.kind == "one":
            return np.array([IGNORE if each is None else each for each in found], dtype=np.int64)
        assert self._labels is not None
        chosen = np.zeros((len(rows), len(self._labels)), dtype=np.float32)
        for row, numbers in zip(chosen, found, strict=True):
            if numbers is None:
                row[:] = np.nan
            else:
                row[list(numbers)] = 1
        return chosen
