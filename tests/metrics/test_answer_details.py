"""Answers taken apart, against the score of all of them and the one of each."""

from __future__ import annotations

import json
import math
import random

import pytest

from roots.metrics import Reading, SquadScore, squad_exact_match, squad_f1
from roots.metrics.answer_details import MOST_MISTAKES, MOST_POINTS, answer_details
from roots.metrics.best_spans import Candidate
from roots.records import Question

WORDS = ["red", "green", "blue", "grey", "pink"]


def quiz(n: int = 60) -> tuple[list[Question], list[Reading]]:
    rng = random.Random(5)
    questions, readings = [], []
    for number in range(n):
        right = tuple(
            " ".join(rng.choices(WORDS, k=rng.randint(1, 12))) for _ in range(rng.randint(1, 2))
        )
        context = " ".join(rng.choices(WORDS, k=rng.randint(20, 400)))
        asked = right if number % 3 else ()
        questions.append(Question(id=str(number), text="which?", context=context, answers=asked))
        given = rng.choice([right[0], "red green", "black", "pink blue red"])
        candidates = [Candidate(given, rng.gauss(1, 1), 0), Candidate("red", -2.0, 4)]
        readings.append(Reading(candidates if number % 7 else [], rng.gauss(0, 1)))
    return questions, readings


def score(questions: list[Question], readings: list[Reading], threshold: float) -> dict[str, float]:
    metric = SquadScore(threshold=threshold)
    metric.update(
        [r.text for r in readings], [q.answers for q in questions], [r.no_answer for r in readings]
    )
    return metric.values()


@pytest.mark.parametrize("threshold", [-0.5, 0.0, 0.8, math.inf])
def test_the_parts_are_what_squad_reports(threshold: float) -> None:
    questions, readings = quiz()
    found = answer_details(questions, readings, threshold)
    wanted = score(questions, readings, threshold)
    for part, name in zip(found["parts"], ("HasAns", "NoAns"), strict=True):
        assert part["f1"] == pytest.approx(wanted[f"f1/{name}"])
        assert part["exact_match"] == pytest.approx(wanted[f"exact_match/{name}"])
    assert [part["questions"] for part in found["parts"]] == [40, 20]
    assert ("threshold" in found) == (threshold < math.inf)


def test_each_point_of_the_curve_is_the_score_with_that_threshold() -> None:
    questions, readings = quiz()
    curve = answer_details(questions, readings, 0.0)["threshold"]["curve"]
    assert len(curve) == sum(bool(reading.candidates) for reading in readings)
    for point in curve:
        wanted = score(questions, readings, point["threshold"])
        assert point["f1"] == pytest.approx(wanted["f1"])
        assert point["exact_match"] == pytest.approx(wanted["exact_match"])
    assert [p["threshold"] for p in curve] == sorted(p["threshold"] for p in curve)


@pytest.mark.parametrize("n", [MOST_POINTS, MOST_POINTS + 1, 399, 400, 1000])
def test_a_long_curve_is_thinned_to_its_ends_and_some_between(n: int) -> None:
    questions = [Question(id="q", text="which?", context="red", answers=("red",))] * n
    readings = [Reading([Candidate("red", 0.0, 0)], float(place)) for place in range(n)]
    curve = answer_details(questions, readings, 0.0)["threshold"]["curve"]
    assert MOST_POINTS / 2 <= len(curve) <= MOST_POINTS
    assert (curve[0]["threshold"], curve[-1]["threshold"]) == (0, n - 1)
    assert curve[-1]["f1"] == 1


def test_a_threshold_that_answers_nothing_is_written_so_that_any_reader_of_json_takes_it() -> None:
    questions, readings = quiz()
    details = answer_details(questions, readings, -math.inf)
    assert details["threshold"]["value"] is None
    json.dumps(details, allow_nan=False)


def test_a_question_of_which_no_row_was_read_is_the_last_of_the_mistakes() -> None:
    question = Question(id="q", text="which?", context="red", answers=("red",))
    unread, read = Reading([], math.inf), Reading([Candidate("blue", 1.0, 0)], 0.0)
    assert unread.probabilities() == [0.0]
    mistakes = answer_details([question] * 3, [unread, read, unread], 0.0)["mistakes"]
    expected = [1 / (1 + math.exp(-1)), 0, 0]
    assert [each["probability"] for each in mistakes] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("key", ["answer_words", "context_words"])
def test_the_lengths_divide_the_answerable_questions(key: str) -> None:
    questions, readings = quiz()
    found = answer_details(questions, readings, 0.3)[key]
    assert sum(each["questions"] for each in found) == 40
    for each in found:
        scores = [
            squad_f1(reading.answer(0.3), question.answers)
            for question, reading in zip(questions, readings, strict=True)
            if question.answers and each["from"] <= length(question, key) <= (each["to"] or 1e9)
        ]
        assert len(scores) == each["questions"]
        assert each["f1"] == pytest.approx(sum(scores) / len(scores))


def length(question: Question, key: str) -> int:
    texts = question.answers if key == "answer_words" else [question.context]
    return min(len(text.split()) for text in texts)


def test_the_mistakes_have_no_right_word_and_the_surest_come_first() -> None:
    questions, readings = quiz(200)
    mistakes = answer_details(questions, readings, 0.3)["mistakes"]
    assert len(mistakes) == MOST_MISTAKES
    assert all(len(mistake["context"]) <= 401 for mistake in mistakes)
    sure = [mistake["probability"] for mistake in mistakes]
    assert sure == sorted(sure, reverse=True)
    wrong = {}
    for question, reading in zip(questions, readings, strict=True):
        given = reading.answer(0.3)
        if squad_f1(given, question.answers) == 0:
            *each, none = reading.probabilities()
            wrong[question.id] = each[0] if given else none
    assert sure == pytest.approx(sorted(wrong.values(), reverse=True)[:MOST_MISTAKES], abs=1e-6)
    for mistake in mistakes:
        assert wrong[mistake["id"]] == pytest.approx(mistake["probability"], abs=1e-6)
        assert squad_exact_match(mistake["given"], mistake["answers"]) == 0


def test_without_questions_there_is_nothing() -> None:
    found = answer_details([], [], 0.0)
    assert found == {"parts": [], "answer_words": [], "context_words": [], "mistakes": []}
