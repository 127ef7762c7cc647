"""Questions whose answer is a part of a text, or that have none: SQuAD 1.1 and 2.0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal, cast

from roots.data.base import at_least
from roots.data.question_split import QuestionSplit
from roots.data.task_data import TaskData
from roots.errors import ConfigError
from roots.records import Question, Row
from roots.sources.rows import Check, RowSource, check_answers, given_once, hold_out
from roots.tokenizer import FRAMED_BY, QuestionFraming

_ASKED = "val and threshold"
_GROUPS = ("title", "context")


class Questions(TaskData):
    """Reads questions on texts; a text that is longer than a row is read in windows that overlap.

    A row of the network is a window; all windows of a question are joined for its answer. Fields:
    `id`, `question`, `context`, `answers` (a list of `{text, answer_start}`, empty where there is
    none), and where they are there `title` and `is_impossible`.

    Args:
        train: A SQuAD file (`.json`), jsonl or parquet file of training questions, or a reader.
        val: Validation questions; empty holds out a part of the training questions.
        test: Test questions; may be empty.
        tokenizer: A folder or hub name with the tokenizer; empty takes that of the network.
        seq_len: Tokens of a row at most: question, special tokens and a window of the context.
        stride: Tokens of the context that neighbouring windows share. An answer that is longer may
            be cut by every window, and cannot be learned; how many are, is said.
        max_question_tokens: A longer question is cut.
        sequences_per_step: Windows of one optimizer step over all ranks and micro-batches.
        val_fraction: Share of the training questions that is held out where `val` is empty.
        threshold_fraction: Share of the training questions that is held out to choose the no-answer
            threshold on, where some have no answer. 0 holds none out: a question has no answer
            where more speaks for that than for the best one; how much more, a network that was
            trained on questions before says (`no_answer_threshold` in its config.json), else 0.
        hold_out_by: What stays together when questions are held out: whole articles by `title`, or
            all questions on the same `context`.
        fold: With `folds`, which of them is validated on, from 1.
        folds: Divide the training rows into so many parts for a cross-validation, as `val_fraction`
            divides them, and train on all parts but `fold`; 0 does not.
        like_lengths: Make each step of rows of like length, so that little is filled up.
        columns: The file's name for each field, where they differ.
        on_bad_row: `error` ends at the first bad row; `skip` leaves bad rows out and counts them.
        max_bad_fraction: With `skip`, more bad rows than this share of all are an error.
        rejected_file: With `skip`, where the bad rows of the training data are written; empty
            writes them nowhere.

    Raises:
        ConfigError: A number that cannot work.
    """

    asks: ClassVar[str] = "answers in a text"
    ARGUMENTS: ClassVar = ("stride", "max_question_tokens", "threshold_fraction", "hold_out_by")
    FIELDS: ClassVar = ("id", "question", "context", "answers")
    OPTIONAL: ClassVar = ("title", "is_impossible")
    LABELS: ClassVar = ("answers", "is_impossible")
    SPLITS: ClassVar = (*TaskData.SPLITS, "threshold", _ASKED)

    def __init__(
        self,
        *,
        train: str | list[str] | RowSource,
        val: str | list[str] | RowSource = "",
        test: str | list[str] | RowSource = "",
        tokenizer: str = "",
        seq_len: int = 384,
        stride: int = 128,
        max_question_tokens: int = 64,
        sequences_per_step: int = 32,
        val_fraction: float = 0.1,
        threshold_fraction: float = 0.1,
        hold_out_by: str = "title",
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
        if not 0 <= threshold_fraction < 1:
            raise ConfigError(
                f"threshold_fraction={threshold_fraction:g} is no share. Set it to at least 0 and"
                " less than 1."
            )
        if hold_out_by not in _GROUPS:
            raise ConfigError(
                f"hold_out_by={hold_out_by!r} is none of {', '.join(_GROUPS)}. Set one of them."
            )
        self.stride = at_least("stride", stride, 0)
        self.max_question_tokens = at_least("max_question_tokens", max_question_tokens, 1)
        self.threshold_fraction = threshold_fraction
        self.hold_out_by = hold_out_by
        self._some_have_no_answer = False

    # -- what the rows are -------------------------------------------------------------------

    def checks(self) -> Sequence[Check]:
        """Asks for an answer where it says that it is, and for an id of its own."""
        return [check_answers, partial(given_once, places={})]

    def without_labels(self, row: Row) -> Mapping[str, object]:
        """Gives no answer."""
        del row
        return {"answers": [], "is_impossible": True}

    def learn(self, rows: list[Row]) -> list[Row]:
        """Finds out whether there are questions without an answer."""
        self._some_have_no_answer = any(row.fields["is_impossible"] for row in rows)
        return rows

    def texts_of(self, row: Row) -> str:
        """The title or the context, whichever holds together."""
        return str(row.fields.get(self.hold_out_by, ""))

    def learnt_by_heart(self, row: Row) -> str:
        """The context: who was asked about it has read the answers to other questions."""
        return str(row.fields["context"])

    def make_split(self, rows: Sequence[Row]) -> QuestionSplit:
        """Tokenizes the questions with their contexts, and finds the answers among the tokens."""
        split = QuestionSplit.of(
            [_question(row) for row in rows],
            QuestionFraming(self.tokenizer, **self.framed_by),
            where=[row.where for row in rows],
            pad_id=self.tokenizer.pad_id,
        )
        if split.nowhere:
            self.remarks.append(
                f"questions: the answers of {len(split.nowhere):,} of {len(rows):,} are whole in no"
                f" window ({rows[split.nowhere[0]].where} is the first) and count as not there;"
                " a larger data.stride cuts fewer"
            )
        return split

    # -- what is read ------------------------------------------------------------------------

    @property
    def framed_by(self) -> dict[str, int]:
        """How questions are framed."""
        return {name: getattr(self, name) for name in FRAMED_BY}

    @property
    def some_have_no_answer(self) -> bool:
        """Whether a training question has no answer."""
        if not self._is_told:
            self.split("train")
        return self._some_have_no_answer

    def recall(self, told: Any) -> None:
        """Takes whether some have no answer as well."""
        super().recall(told)
        self._some_have_no_answer = told.some_have_no_answer

    def split(self, name: str) -> QuestionSplit:
        """Gives `train`, `val`, `test`, or `threshold`: the questions that choose the threshold."""
        if name == _ASKED and self._is_told:  # a trained network's threshold stays
            return self.split("val")
        if name == _ASKED and name not in self._splits:
            self._splits[name] = self.split("val").and_unmeasured(self.split("threshold"))
        return cast(QuestionSplit, super().split(name))

    def asked(self, stage: str) -> QuestionSplit:
        """Gives what the loader of Lightning's `validate`, `test` or `predict` reads."""
        return self.split({"test": "test", "predict": self._predicted}.get(stage, _ASKED))

    def val_dataloader(self) -> Any:
        """Yields every window of `val` and of `threshold` once; no loader where there are none."""
        self._check_any("val")
        return self._all_of(_ASKED) if len(self.split(_ASKED)) else []

    def told(self, prediction: dict[str, Any]) -> dict[str, Any]:
        """Takes out the number of the question, which its id says better."""
        return {name: value for name, value in prediction.items() if name != "sample"}

    def describe(self) -> str:
        """Says in one line what is read, and how much of it."""
        train, val, threshold = (self.split(name) for name in ("train", "val", "threshold"))
        chosen = f", {len(threshold.questions):,} to choose the threshold on" if threshold else ""
        return (
            f"{self.path}: {len(train.questions):,} questions in {len(train):,} windows of"
            f" {train.lengths.mean():.0f} tokens in the mean to train on{chosen},"
            f" {len(val.questions):,} to validate on{self._held_in_words}"
        )

    # -- how -----------------------------------------------------------------------------------

    def _train_and_val(self) -> tuple[list[Row], list[Row]]:
        train, val = super()._train_and_val()
        held: list[Row] = []
        if self._some_have_no_answer and self.threshold_fraction:
            train, held = self._divided(train)
        self._splits["threshold"] = self.make_split(held)
        return train, val

    def _divided_in_two(self, rows: Sequence[Row]) -> tuple[list[int], list[int]]:
        try:
            return super()._divided_in_two(rows)
        except ConfigError as error:
            if self.hold_out_by != "title":
                raise
            untitled = sum(not self.texts_of(row) for row in rows)
            one = f" ({untitled:,} rows have none and are one group)" if untitled else ""
            raise ConfigError(
                f"{error} Rows of one title{one} stay together: set data.hold_out_by to context to"
                " divide by contexts instead."
            ) from error

    def _divided(self, rows: list[Row]) -> tuple[list[Row], list[Row]]:
        groups = [self.texts_of(row) for row in rows]
        try:
            train, held = hold_out(len(rows), fraction=self.threshold_fraction, seed=2, by=groups)
        except ConfigError as error:
            raise ConfigError(
                f"No questions can be held out to choose the no-answer threshold on: {error} The"
                f" fraction is data.threshold_fraction, 0 to hold none out; the groups are each"
                f" {self.hold_out_by} by data.hold_out_by, which may be title or context."
            ) from error
        return [rows[n] for n in train], [rows[n] for n in held]


def _question(row: Row) -> Question:
    fields: Mapping[str, Any] = row.fields
    answers = fields["answers"]
    return Question(
        id=fields["id"],
        text=fields["question"],
        context=fields["context"],
        answers=tuple(answer["text"] for answer in answers),
        span=_span(**answers[0]) if answers else None,
    )


def _span(text: str, answer_start: int) -> tuple[int, int]:
    """Gives the characters of an answer, without white space around it, which no token has."""
    start = answer_start + len(text) - len(text.lstrip())
    return start, start + len(text.strip())
