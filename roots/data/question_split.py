"""Questions as the network reads them: rows that are windows on their contexts."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64

from roots.batch import IGNORE
from roots.data.ragged import Ragged
from roots.data.splits import Split
from roots.records import Question, QuestionWindow
from roots.tokenizer import QuestionFraming, answer_places


@dataclass(frozen=True, kw_only=True)
class QuestionSplit(Split):
    """Windows with the places of their answers; `labels` are (R, 2), the first and last token.

    Args:
        questions: What is asked; several windows may be of one.
        windows: What a metric needs to know of each row.
        n_measured: How many of the questions are measured; those behind them choose a threshold.
        nowhere: The questions whose answer no window holds whole.
    """

    questions: Sequence[Question]
    windows: Sequence[QuestionWindow]
    n_measured: int
    nowhere: Sequence[int]

    @classmethod
    def of(
        cls,
        questions: Sequence[Question],
        framing: QuestionFraming,
        *,
        where: Sequence[str],
        pad_id: int,
    ) -> QuestionSplit:
        """Frames questions.

        Args:
            questions: A row is labelled with the `span` of its question, where it holds that
                whole; else with the place that stands for no answer.
            framing: Makes the rows.
            where: Where each question stands in its source.
            pad_id: The token that fills up.
        """
        ids, type_ids, windows = [], [], []
        for window, framed in framing.windows(questions):
            windows.append(window)
            ids.append(array("i", framed.ids))
            type_ids.append(array("i", framed.type_ids))
        labels = label_windows(questions, windows)
        no_answer = np.array([window.no_answer for window in windows], dtype=np.int64)
        found = {windows[row].question for row in np.flatnonzero(labels[:, 0] != no_answer)}
        return cls(
            input_ids=Ragged.of(ids),
            labels=labels,
            where=[where[window.question] for window in windows],
            pad_id=pad_id,
            others={"token_type_ids": Ragged.of(type_ids)} if any(map(any, type_ids)) else {},
            questions=questions,
            windows=windows,
            n_measured=len(questions),
            nowhere=[n for n, q in enumerate(questions) if q.span and n not in found],
        )

    def and_unmeasured(self, other: QuestionSplit) -> QuestionSplit:
        """Adds the rows of another split, without labels, behind these."""
        windows = [replace(w, question=w.question + len(self.questions)) for w in other.windows]
        names = {**self.others, **other.others}
        return replace(
            self,
            input_ids=self.input_ids.and_behind(other.input_ids),
            labels=np.concatenate([self.labels, np.full_like(other.labels, IGNORE)]),
            where=[*self.where, *other.where],
            others={name: self._other(name).and_behind(other._other(name)) for name in names},
            questions=[*self.questions, *other.questions],
            windows=[*self.windows, *windows],
        )

    def _other(self, name: str) -> Ragged:
        """Gives what else is read of each token; 0 where nothing else was found."""
        zeros = Ragged(np.zeros_like(self.input_ids.values), self.input_ids.ends)
        return self.others.get(name, zeros)


def label_windows(
    questions: Sequence[Question], windows: Sequence[QuestionWindow]
) -> Int64[np.ndarray, "R 2"]:
    """Gives the first and the last token of the answer in each row.

    Both are the place that stands for no answer where the row does not hold the answer whole.
    """
    labels = np.empty((len(windows), 2), dtype=np.int64)
    for label, window in zip(labels, windows, strict=True):
        span = questions[window.question].span
        found = None if span is None else answer_places(window, span)
        label[:] = found or window.no_answer
    return labels
