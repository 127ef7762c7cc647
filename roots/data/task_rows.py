"""What a row of a task is, how the rows of a split are read, and which are held out."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar

from roots.data.base import first_few
from roots.data.splits import Split
from roots.errors import ConfigError, DataError, UserError
from roots.records import BadRow, Row
from roots.sources.rows import (
    Check,
    CheckedRows,
    Columns,
    KnownTexts,
    LabelSet,
    RowSource,
    fold_of_rows,
    hold_out,
    plain_labels,
    rows_from,
)


class TaskRows(ABC):
    """Says what a row is, and reads rows; a data module of rows is one.

    It has no arguments of its own: those that it reads by are the data module's.
    """

    train: str | list[str] | RowSource
    val: str | list[str] | RowSource
    test: str | list[str] | RowSource
    val_fraction: float
    fold: int
    folds: int
    on_bad_row: str
    max_bad_fraction: float
    rejected_file: str
    remarks: list[str]
    given_labels: str | list[str] = ""
    """The names of the classes, or a file of them; empty where rows tell them or none are."""
    _known: LabelSet | None = None
    _read_as: Columns
    _is_told: bool = False
    """Whether a trained network told what else is learned of the training rows."""

    FIELDS: ClassVar[Sequence[str]] = ()
    """What every row must have."""
    OPTIONAL: ClassVar[Sequence[str]] = ()
    """What a row may have."""
    LABELS: ClassVar[Sequence[str]] = ()
    """What a row that is only asked about need not have."""
    LINE: ClassVar[str] = ""
    """The field that a line of text may be; see `line`."""

    # -- what a subclass says ----------------------------------------------------------------

    @abstractmethod
    def checks(self) -> Sequence[Check]:
        """Gives what is asked of a row; once `learn` was called, with what was learned."""

    def fields(self) -> Sequence[str]:
        """Gives what every row must have; once `learn` was called, with what was learned."""
        return self.FIELDS

    def line(self) -> str:
        """Gives the field that a line of text is, where one is enough to be asked about."""
        asked = [name for name in self.fields() if name not in self.LABELS]
        return self.LINE if asked == [self.LINE] else ""

    def learn(self, rows: list[Row]) -> list[Row]:
        """Takes from the training rows what the others must fit to: the labels.

        Returns:
            The rows with what was learned: the number of a label where they had its name.
        """
        return rows

    @abstractmethod
    def make_split(self, rows: Sequence[Row]) -> Split:
        """Turns checked rows into what the network reads."""

    def checks_when_asked(self) -> Sequence[Check]:
        """Gives what is asked of a row without labels."""
        return self.checks()

    def without_labels(self, row: Row) -> Mapping[str, object]:  # noqa: ARG002 - for a subclass
        """Gives the fields that stand for labels where there are none."""
        return dict.fromkeys(self.LABELS)

    def texts_of(self, row: Row) -> str:
        """Gives the text of a row: rows of the same text stay together when some are held out."""
        return "\0".join(str(row.fields.get(name, "")) for name in (*self.FIELDS, *self.OPTIONAL))

    def learnt_by_heart(self, row: Row) -> str:
        """Gives the text that training rows and rows that measure must not share."""
        return self.texts_of(row)

    def class_of(self, row: Row) -> Hashable:  # noqa: ARG002 - for a subclass
        """Gives the class whose share a held-out part keeps."""
        return None

    def classes_of(self, row: Row) -> Sequence[Hashable]:  # noqa: ARG002 - for a subclass
        """Gives all classes of a row: what no training row has is never learned."""
        return ()

    # -- how -----------------------------------------------------------------------------------

    @property
    def _labels(self) -> LabelSet | None:
        """The classes, as soon as they are known.

        A file that names them is read when it is asked for: a trained network knows them without.
        """
        if self._known is None and self.given_labels:
            self._known = self._given()
        return self._known

    def _given(self) -> LabelSet:
        return LabelSet.given(self.given_labels)

    def _take_labels(self, labels: str | list[str]) -> None:
        """Takes names of classes, which are checked at once, or the path of a file of them."""
        self.given_labels = plain_labels(labels)
        if self.given_labels and not isinstance(self.given_labels, str):
            self._known = self._given()

    def _recall_labels(self, told: Any) -> None:
        """Takes the classes of a trained network."""
        self._known = LabelSet(told.labels.names, by_number=bool(self.given_labels))

    def _texts_trained_on(self, name: str) -> KnownTexts | None:
        """Reads what a trained network was trained on, if that is still there; else says so."""
        n_remarks = len(self.remarks)
        try:
            train, _ = self._trained_and_held()
        except UserError as error:
            why = f"the training rows cannot be read: {error}"
            self.remarks.append(f"{name}: which of its texts were trained on is not known; {why}")
            return None
        del self.remarks[n_remarks:]  # they were told when it was trained
        return KnownTexts(train, text_of=self.learnt_by_heart)

    def _train_and_val(self) -> tuple[list[Row], list[Row]]:
        train, held = self._trained_and_held()
        return train, self._rows("val") if self.val else held

    def _trained_and_held(self) -> tuple[list[Row], list[Row]]:
        """Gives the training rows, and those of them that are held out where `val` names none."""
        if self._is_told:
            rows = self._rows("train")
        else:
            rows = self.learn(self._rows("train", rejected_file=self.rejected_file))
        if self.val or not (self.folds or self.val_fraction):
            return rows, []
        train, held = ([rows[n] for n in part] for part in self._divided_in_two(rows))
        self.remarks += self._never_learned(train, held)
        return train, held

    def _never_learned(self, train: Sequence[Row], held: Sequence[Row]) -> list[str]:
        """Says which classes only rows that are held out have: copies of a text go together."""
        learned = {name for row in train for name in self.classes_of(row)}
        lost: dict[Hashable, list[str]] = {}
        for row in held:
            for name in {*self.classes_of(row)} - learned:
                lost.setdefault(name, []).append(row.where)
        each = [f"{name!r} ({first_few(lost[name])})" for name in sorted(lost, key=str)]
        if not each:
            return []
        return [
            f"no training row has {first_few(each)}: those rows are held out to validate on, and"
            " what only they have is never learned. Give validation rows a file of their own"
            " (data.val), or add rows that have it"
        ]

    def _divided_in_two(self, rows: Sequence[Row]) -> tuple[list[int], list[int]]:
        """Gives which rows are for training, and which are validated on; the same in each run."""
        by = [self.texts_of(row) for row in rows]
        strata = [self.class_of(row) for row in rows]
        if not self.folds:
            fraction = self.val_fraction
            return hold_out(len(rows), fraction=fraction, seed=1, by=by, strata=strata)
        found = fold_of_rows(len(rows), folds=self.folds, seed=1, by=by, strata=strata)
        train = [n for n, fold in enumerate(found) if fold != self.fold]
        return train, [n for n, fold in enumerate(found) if fold == self.fold]

    @property
    def _held_in_words(self) -> str:
        """Says where the validation rows come from, where they have no file."""
        if self.folds:
            return f" (fold {self.fold} of {self.folds} of the same file)"
        return "" if self.val else " (held out of the same file)"

    def _rows(self, name: str, rejected_file: str = "") -> list[Row]:
        source = {"train": self.train, "val": self.val, "test": self.test}[name]
        if not source:
            raise DataError(f"There are no {name} rows. Set data.{name} to a file of them.")
        read_as = self._read_as.anew(self.fields())
        checked = CheckedRows(
            rows_from(source),
            checks=[read_as, *self.checks()],
            on_bad_row=self.on_bad_row,  # type: ignore[arg-type]
            max_bad_fraction=self.max_bad_fraction,
            rejected_file=rejected_file,
        )
        rows = list(checked)
        read_as.check_met()
        if remark := checked.books.remark():
            self.remarks.append(f"{name}: {remark}")
        return rows


def check_held_out(val: object, val_fraction: float, fold: int, folds: int) -> None:
    """Raises ConfigError when it is not clear which rows are validated on."""
    if not 0 <= val_fraction < 1:
        raise ConfigError(
            f"val_fraction={val_fraction:g} is no share. Set it to at least 0 and less than 1."
        )
    if not (fold or folds):
        return
    if folds < 2 or not 1 <= fold <= folds:
        raise ConfigError(
            f"fold={fold} of folds={folds} is no part of a cross-validation. Set data.folds to 2 or"
            " more, and data.fold to one of 1 to data.folds, or leave both out."
        )
    if val:
        raise ConfigError(
            f"data.val names validation rows, and data.folds={folds} takes them out of the training"
            " rows. Leave one of the two out."
        )


def no_rows(verb: str) -> str:
    """Says that there is nothing to `validate` or to `predict`, and the cure."""
    if verb == "predict":
        return (
            "There are no rows to predict: data.test and data.val name none, and none of the"
            " training rows are held out. Name a file of them: --from FILE."
        )
    return (
        "There are no rows to validate on: data.val names none, and none of the training rows are"
        " held out. Name a file of them: --data.val FILE."
    )


def passed(rows: Sequence[Row], check: Check) -> list[Row]:
    """Gives rows as a check leaves them; raises DataError when it refuses one."""
    found = []
    for row in rows:
        checked = check(row)
        if isinstance(checked, BadRow):
            raise DataError(checked.message)
        found.append(checked)
    return found


def sum_of_rows(rows: Sequence[Row]) -> str:
    """Gives the sha256 of the rows' fields, in their order."""
    found = hashlib.sha256()
    for row in rows:
        fields = json.dumps(dict(row.fields), sort_keys=True, ensure_ascii=False, default=str)
        found.update(fields.encode() + b"\n")
    return found.hexdigest()
