"""What a person looks at beside the numbers of question answering, made small enough to be kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from roots.metrics.best_spans import Reading
from roots.metrics.squad_answers import normalized_answer, squad_exact_match, squad_f1
from roots.records import Question

ANSWER_WORDS = (1, 2, 3, 5, 10)
CONTEXT_WORDS = (50, 100, 150, 200, 300)
MOST_POINTS = 200
MOST_MISTAKES = 20
LONGEST_CONTEXT = 400


class Judged(NamedTuple):
    """One question, and what its answer is worth.

    Args:
        question: The question.
        reading: What the network made of it.
        given: The answer that was given; empty for none.
        exact_match: 0 or 1.
        f1: 0 to 1.
    """

    question: Question
    reading: Reading
    given: str
    exact_match: float
    f1: float


def answer_details(
    questions: Sequence[Question], readings: Sequence[Reading], threshold: float
) -> dict[str, Any]:
    """Takes the answers apart: by kind of question, by length, by threshold, and the worst.

    Args:
        questions: What was asked.
        readings: What the network made of each.
        threshold: A question counts as unanswerable where more speaks for none; `inf` for never.

    Returns:
        `parts` (answerable or not: `questions`, `exact_match`, `f1`), `answer_words` and
        `context_words` (F1 of the answerable ones by the words of their shortest answer and of
        their context: `from`, `to`, `questions`, `f1`), `threshold` with its `curve` where there is
        one (its `value`, None for -inf, which answers nothing; the F1 and exact match that each
        threshold would have), and `mistakes`: those without any right word of whose answer the
        network was surest.
    """
    judged = [_judged(*pair, threshold) for pair in zip(questions, readings, strict=True)]
    has = [each for each in judged if each.question.answers]
    not_one = [each for each in judged if not each.question.answers]
    details: dict[str, Any] = {
        "parts": [
            {"part": name, **_means(some)}
            for name, some in (("answerable", has), ("unanswerable", not_one))
            if some
        ],
        "answer_words": _by_length(has, ANSWER_WORDS, _answer_words),
        "context_words": _by_length(has, CONTEXT_WORDS, lambda q: len(q.context.split())),
        "mistakes": [_told(each, threshold) for each in _worst(judged, threshold)],
    }
    if threshold < math.inf and judged:
        value = threshold if math.isfinite(threshold) else None  # JSON has no infinity
        details["threshold"] = {"value": value, "curve": _curve(judged)}
    return details


def _judged(question: Question, reading: Reading, threshold: float) -> Judged:
    given = reading.answer(threshold)
    scores = squad_exact_match(given, question.answers), squad_f1(given, question.answers)
    return Judged(question, reading, given, *scores)


def _means(judged: Sequence[Judged]) -> dict[str, float]:
    n = len(judged)
    return {
        "questions": n,
        "exact_match": math.fsum(each.exact_match for each in judged) / n,
        "f1": math.fsum(each.f1 for each in judged) / n,
    }


def _answer_words(question: Question) -> int:
    return min(len(normalized_answer(answer).split()) for answer in question.answers) or 1


def _by_length(
    judged: Iterable[Judged], ends: Sequence[int], length: Callable[[Question], int]
) -> list[dict[str, Any]]:
    """Means of those whose length lies between two ends; where there are none, no bin."""
    bins: list[list[Judged]] = [[] for _ in range(len(ends) + 1)]
    for each in judged:
        bins[sum(length(each.question) > end for end in ends)].append(each)
    edges = list(zip([0, *ends], [*ends, None], strict=True))
    return [
        {"from": low + 1, "to": high, **_means(some)}
        for (low, high), some in zip(edges, bins, strict=True)
        if some
    ]


def _curve(judged: Sequence[Judged]) -> list[dict[str, float]]:
    """What F1 and exact match would be at the thresholds between none and all answered."""
    rows = []
    for each in judged:
        text, answers = each.reading.text, each.question.answers
        without = float(not answers)
        gains = squad_exact_match(text, answers) - without, squad_f1(text, answers) - without
        rows.append((each.reading.no_answer, *gains))
    rows = sorted(row for row in rows if math.isfinite(row[0]))
    exact = f1 = float(sum(not each.question.answers for each in judged))
    curve: list[dict[str, float]] = []
    for place, (at, gain_exact, gain_f1) in enumerate(rows):
        exact, f1 = exact + gain_exact, f1 + gain_f1
        if place + 1 == len(rows) or rows[place + 1][0] > at:
            n = len(judged)
            curve.append({"threshold": at, "exact_match": exact / n, "f1": f1 / n})
    if len(curve) <= MOST_POINTS:
        return curve
    step = -(-len(curve) // (MOST_POINTS - 1))
    return [*curve[:-1:step], curve[-1]]


def _worst(judged: Iterable[Judged], threshold: float) -> list[Judged]:
    """Those without a right word, the surest first; of equals in the order of the questions."""
    wrong = [each for each in judged if each.f1 == 0]
    return sorted(wrong, key=lambda each: -_probability(each, threshold))[:MOST_MISTAKES]


def _probability(each: Judged, threshold: float) -> float:
    """That of what was given, among the candidates and none."""
    *candidates, none = each.reading.probabilities()
    is_none = each.reading.no_answer > threshold or not candidates
    return none if is_none else candidates[0]


def _told(each: Judged, threshold: float) -> dict[str, Any]:
    context = " ".join(each.question.context.split())
    return {
        "id": each.question.id,
        "question": each.question.text,
        "answers": list(dict.fromkeys(each.question.answers)),
        "given": each.given,
        "probability": round(_probability(each, threshold), 6),
        "context": context[:LONGEST_CONTEXT] + ("…" if len(context) > LONGEST_CONTEXT else ""),
    }
