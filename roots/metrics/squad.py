"""Extractive question answering: exact match and F1 by the official definition of SQuAD."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from roots.errors import DataError
from roots.metrics.squad_answers import squad_exact_match, squad_f1
from roots.metrics.summed import SummedMetric

PARTS = ("HasAns", "NoAns")


class SquadScore(SummedMetric):
    """Measures answers: `exact_match` and `f1`, 0 to 1, over all questions and by part.

    The parts are `exact_match/HasAns`, `f1/HasAns` (questions with an answer) and
    `exact_match/NoAns`, `f1/NoAns` (those without); a part without questions is not named, as SQuAD
    1.1 has no NoAns.

    Args:
        threshold: A question whose no-answer score is above this counts as unanswerable, whatever
            was predicted. The default never overrules a prediction.

    Source:
        evaluate-v2.0.py of SQuAD; for SQuAD 1.1 the same figures as its own script, where every
        answer has a word that is no article.
    """

    questions: Tensor
    scores: Tensor

    def __init__(self, *, threshold: float = math.inf) -> None:
        super().__init__()
        self.threshold = threshold
        empty = torch.zeros(2, dtype=torch.long)
        self.add_state("questions", empty, dist_reduce_fx="sum")  # HasAns, NoAns
        empty = torch.zeros(2, 2, dtype=torch.float64)
        self.add_state("scores", empty, dist_reduce_fx="sum")  # exact match and F1 of each

    def update(
        self,
        predictions: Sequence[str],
        answers: Sequence[Sequence[str]],
        no_answer: Sequence[float] | None = None,
    ) -> None:
        """Adds questions.

        Args:
            predictions: The predicted answer of each; an empty one says that there is none.
            answers: The right answers of each; none for a question without an answer.
            no_answer: How much speaks for no answer, to be compared with `threshold`.

        Raises:
            DataError: Lists of different lengths.
        """
        if no_answer is None:
            no_answer = [-math.inf] * len(predictions)
        if not len(predictions) == len(answers) == len(no_answer):
            raise DataError(
                f"{len(predictions)} predictions, answers of {len(answers)} questions and"
                f" {len(no_answer)} no-answer scores do not match. Give one of each per question."
            )
        rows = zip(predictions, answers, no_answer, strict=True)
        self._add([(bool(right), *self._scores(text, right, no)) for text, right, no in rows])

    def _scores(
        self, prediction: str, answers: Sequence[str], no_answer: float
    ) -> tuple[float, float]:
        if no_answer > self.threshold:
            return float(not answers), float(not answers)
        return squad_exact_match(prediction, answers), squad_f1(prediction, answers)

    def _add(self, rows: list[tuple[bool, float, float]]) -> None:
        parts = [[row for row in rows if row[0] is has] for has in (True, False)]
        sums = [[math.fsum(row[column] for row in part) for column in (1, 2)] for part in parts]
        self.questions += torch.tensor([len(part) for part in parts], device=self.device)
        self.scores += torch.tensor(sums, dtype=self.exact, device=self.device)

    def _values(self) -> dict[str, float]:
        questions, scores = self.questions.tolist(), self.scores.cpu().double()
        values = _named(scores.sum(0).tolist(), sum(questions), "")
        for part, n, sums in zip(PARTS, questions, scores.tolist(), strict=True):
            values |= _named(sums, n, f"/{part}") if n else {}
        return values


def _named(sums: list[float], n: int, suffix: str) -> dict[str, float]:
    means = [one / n if n else math.nan for one in sums]
    return {f"exact_match{suffix}": means[0], f"f1{suffix}": means[1]}
