"""One predicted answer against the given ones, and when not to answer at all.

The definitions are those of the official script of SQuAD 2.0 (evaluate-v2.0.py).
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from roots.errors import DataError

_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized_answer(text: str) -> str:
    """Takes out case, ASCII punctuation, English articles and needless white space."""
    plain = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def squad_exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1 where the prediction is one of the answers but for normalisation, else 0.

    Args:
        prediction: The predicted answer; nothing at all says that there is none.
        answers: What counts as right; none for a question without an answer.
    """
    wanted = normalized_answer(prediction)
    return float(any(normalized_answer(answer) == wanted for answer in _real(answers)))


def squad_f1(prediction: str, answers: Sequence[str]) -> float:
    """F1 of the words shared with the answer that shares most, 0 to 1; arguments as above."""
    words = normalized_answer(prediction).split()
    return max(_shared(words, normalized_answer(answer).split()) for answer in _real(answers))


def _real(answers: Sequence[str]) -> Sequence[str]:
    """The answers that are something after normalisation; where there are none, the empty one."""
    return [answer for answer in answers if normalized_answer(answer)] or [""]


def _shared(predicted: list[str], answer: list[str]) -> float:
    if not predicted or not answer:
        return float(predicted == answer)
    n_shared = (Counter(predicted) & Counter(answer)).total()
    # 2 P R / (P + R), with P and R of the same numerator
    return 2 * n_shared / (len(predicted) + len(answer))


class Threshold(NamedTuple):
    """From where on a question counts as unanswerable, and the mean score that this gives."""

    value: float
    score: float


def best_threshold(
    scores: Sequence[float], no_answer: Sequence[float], answerable: Sequence[bool]
) -> Threshold:
    """Finds the threshold of the no-answer score with the best mean score.

    Use it on articles of the *training* part: a threshold chosen on the articles that are reported
    makes their score look better than it is.

    Args:
        scores: Exact match or F1 of each question's best answer, 0 to 1, as if it had to be given.
        no_answer: How much speaks for no answer: a probability, or a difference of scores.
        answerable: Whether the question has an answer.

    Returns:
        A question counts as unanswerable where `no_answer` is more than the value, -inf for never
        to answer.

    Raises:
        DataError: No questions, lists of different lengths, or a `no_answer` that is nan.

    Source:
        find_best_thresh of evaluate-v2.0.py. It says 0 where we say -inf, which is right for
        probabilities only, and may stop between equal scores, which no threshold can.
    """
    if not len(scores) == len(no_answer) == len(answerable) or not scores:
        raise DataError(
            f"No threshold can be chosen with {len(scores)} scores, {len(no_answer)} no-answer"
            f" scores and {len(answerable)} questions. Give one of each for every question, and at"
            " least one."
        )
    if any(math.isnan(score) for score in no_answer):
        raise DataError("A no-answer score is nan, so that no threshold can be compared with it.")
    by_score = sorted(zip(no_answer, scores, answerable, strict=True), key=lambda row: row[0])
    total = float(sum(not has for has in answerable))  # nothing is answered
    best = Threshold(-math.inf, total)
    for value, rows in groupby(by_score, key=lambda row: row[0]):
        total += sum(score - (not has) for _, score, has in rows)
        if total > best.score:
            best = Threshold(value, total)
    return Threshold(best.value, best.score / len(scores))
