"""SquadScore against the algorithm of evaluate-v2.0.py, torchmetrics and hand-made cases."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measured import questions
from squad_script import official_report, official_scores, official_tokens
from torchmetrics.functional.text import squad

from roots.errors import DataError
from roots.metrics import SquadScore, best_threshold, squad_exact_match, squad_f1

ANSWERS = ["The Cat", "cat.", "a", "", "!", "an old cat, a dog", "Theatre", "dog dog cat", "x-ray"]
answer = st.sampled_from(ANSWERS)
question = st.tuples(answer, st.lists(answer, max_size=3), st.integers(0, 4).map(lambda n: n / 4))


def measure(
    predictions: list[str],
    answers: list[list[str]],
    no_answer: list[float] | None = None,
    threshold: float = math.inf,
) -> dict[str, float]:
    metric = SquadScore(threshold=threshold)
    metric.update(predictions, answers, no_answer)
    return metric.values()


@settings(max_examples=300, deadline=None)
@given(st.lists(question, min_size=1, max_size=8), st.sampled_from([-1.0, 0.25, 0.6, math.inf]))
def test_values_equal_the_official_algorithms(
    rows: list[tuple[str, list[str], float]], threshold: float
) -> None:
    values = measure(*(list(column) for column in zip(*rows, strict=True)), threshold)
    assert values == pytest.approx(official_report(rows, threshold))


def test_answers_of_squad_1_equal_torchmetrics() -> None:
    predictions, answers, _ = questions()
    rows = [(p, a) for p, a in zip(predictions, answers, strict=True) if a]
    values = measure([p for p, _ in rows], [a for _, a in rows])
    made = squad(
        [{"id": str(n), "prediction_text": p} for n, (p, _) in enumerate(rows)],
        [
            {"id": str(n), "answers": {"text": a, "answer_start": [0] * len(a)}}
            for n, (_, a) in enumerate(rows)
        ],
    )
    assert 100 * values["exact_match"] == pytest.approx(float(made["exact_match"]), rel=1e-6)
    assert 100 * values["f1"] == pytest.approx(float(made["f1"]), rel=1e-6)
    assert set(values) == {"exact_match", "f1", "exact_match/HasAns", "f1/HasAns"}


@pytest.mark.parametrize(
    ("prediction", "answers", "exact", "f1"),
    [
        ("the  Eiffel tower!", ["Eiffel Tower"], 1, 1),
        ("Eiffel", ["Eiffel Tower", "the Louvre"], 0, 2 / 3),
        ("theatre", ["the atre"], 0, 0),  # an article is a whole word
        ("x-ray", ["xray"], 1, 1),  # punctuation goes, it does not cut
        ("cat cat", ["cat dog"], 0, 0.5),  # a word is shared as often as both have it
        ("", [], 1, 1),
        ("the", [], 1, 1),
        ("Paris", [], 0, 0),
        ("", ["Paris"], 0, 0),
    ],
)
def test_hand_made_answers(prediction: str, answers: list[str], exact: float, f1: float) -> None:
    assert squad_exact_match(prediction, answers) == exact
    assert squad_f1(prediction, answers) == pytest.approx(f1)


def test_the_limits() -> None:
    answers = [["Paris"], [], ["Rome", "Roma"]]
    assert set(measure(["Paris", "", "Roma"], answers).values()) == {1.0}
    assert set(measure(["Rome", "Rome", ""], answers).values()) == {0.0}


def test_a_score_above_the_threshold_says_that_there_is_no_answer() -> None:
    predictions, answers = ["Paris", "Rome"], [["Paris"], []]
    values = measure(predictions, answers, [0.5, 0.5], threshold=0.5)
    assert (values["f1/HasAns"], values["f1/NoAns"]) == (1, 0)
    values = measure(predictions, answers, [0.6, 0.6], threshold=0.5)
    assert (values["f1/HasAns"], values["f1/NoAns"]) == (0, 1)


def test_unequal_lists_are_refused_with_their_lengths() -> None:
    with pytest.raises(DataError, match=r"^2 predictions, answers of 1 questions and 2 no-answer"):
        measure(["a", "b"], [["a"]])
    measure(["a"], [["a"]])


# -- the threshold -----------------------------------------------------------------------------


def reached(rows: list[tuple[float, float, bool]], threshold: float) -> float:
    """The mean score of a threshold, one question after another."""
    scores = [float(not has) if no > threshold else score for score, no, has in rows]
    return sum(scores) / len(scores)


numbers = st.tuples(st.sampled_from([0.0, 0.4, 1.0]), st.integers(-3, 3).map(float), st.booleans())


@settings(max_examples=300, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=9))
def test_no_threshold_is_better_than_the_best(rows: list[tuple[float, float, bool]]) -> None:
    best = best_threshold(*(list(column) for column in zip(*rows, strict=True)))
    assert reached(rows, best.value) == pytest.approx(best.score)
    tried = [-math.inf, math.inf, *(no for _, no, _ in rows)]
    assert best.score == pytest.approx(max(reached(rows, t) for t in tried))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(answer, st.lists(answer, max_size=2)), min_size=1, max_size=9, unique_by=str)
)
def test_the_threshold_equals_the_official_one_for_probabilities_that_differ(
    rows: list[tuple[str, list[str]]],
) -> None:
    rows = [(p, a) for p, a in rows if official_tokens(p) or not p]  # where it looks at raw text
    rows = [(p, a) for p, a in rows if not a or any(map(official_tokens, a))]
    if not rows:
        return
    scores = [official_scores(*row)[1] for row in rows]
    probabilities = [(7 * n % 11 + 1) / 12 for n in range(len(rows))]
    current = best_score = float(sum(not answers for _, answers in rows))
    value = 0.0
    for n in sorted(range(len(rows)), key=probabilities.__getitem__):
        prediction, answers = rows[n]
        current += scores[n] if answers else (-1 if prediction else 0)
        if current > best_score:
            best_score, value = current, probabilities[n]
    best = best_threshold(scores, probabilities, [bool(answers) for _, answers in rows])
    assert best.score == pytest.approx(best_score / len(rows))
    assert best.value == (value or -math.inf)


def test_the_threshold_gives_its_score_to_the_metric() -> None:
    predictions, answers, no_answer = questions()
    scores = [squad_f1(p, a) for p, a in zip(predictions, answers, strict=True)]
    best = best_threshold(scores, no_answer, [bool(a) for a in answers])
    values = measure(predictions, answers, no_answer, threshold=best.value)
    assert values["f1"] == pytest.approx(best.score)
    assert values["f1"] >= measure(predictions, answers)["f1"]


def test_where_nothing_can_be_won_no_question_is_answered() -> None:
    assert best_threshold([0.0, 0.0], [0.1, 0.9], [False, True]) == (-math.inf, 0.5)


def test_lists_that_give_no_threshold_are_refused() -> None:
    with pytest.raises(DataError, match=r"with 1 scores, 2 no-answer scores and 1 questions"):
        best_threshold([1.0], [0.1, 0.2], [True])
    with pytest.raises(DataError, match=r"with 0 scores"):
        best_threshold([], [], [])
    with pytest.raises(DataError, match=r"is nan"):
        best_threshold([1.0], [math.nan], [True])
    assert best_threshold([1.0], [0.1], [True]) == (0.1, 1.0)
