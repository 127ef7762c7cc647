"""The best spans against all pairs, joined windows against the script of transformers."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import pytest
import torch
from measured import same_values
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import models, pre_tokenizers, processors

from roots.metrics import Reading, SpanAnswers, SquadScore, best_spans, best_threshold, squad_f1
from roots.metrics.best_spans import Candidate, reading_of
from roots.records import Question, QuestionWindow
from roots.tokenizer import QuestionFraming, Tokenizer, answer_places

CONTEXT = "abcdefghijklmnopqrst"
N_BEST = 4


def logits_of(rows: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(rows, 2, 14, generator=torch.Generator().manual_seed(seed))


def quiz() -> tuple[list[Question], list[QuestionWindow]]:
    """Nine questions on twenty letters, a token each, in one to four windows of up to eight."""
    rng, questions, windows = random.Random(3), [], []
    for number in range(9):
        answers = () if number % 3 == 2 else (CONTEXT[number : number + 3], CONTEXT[number:9])
        questions.append(Question(id=str(number), text="?", context=CONTEXT, answers=answers))
        for n in range(rng.randint(1, 4)):
            letters = range(n * 4, n * 4 + rng.randint(5, 8))
            windows.append(
                QuestionWindow(question=number, first=3, starts=[*letters],
                               ends=[letter + 1 for letter in letters], no_answer=n % 2)
            )  # fmt: skip
    return questions, windows


def answers(**settings: Any) -> SpanAnswers:
    questions, windows = quiz()
    made = {"n_best": N_BEST, "max_answer_tokens": 5, "threshold": 0.5, **settings}
    return SpanAnswers(questions=questions, windows=windows, **made)


def of_script(logits: torch.Tensor, n_best: int) -> list[Reading]:
    """The method of utils_qa.py of transformers, with offsets that are those of the letters."""
    questions, windows = quiz()
    readings = []
    for number, question in enumerate(questions):
        found, null = [], math.inf
        for row, window in enumerate(windows):
            if window.question != number:
                continue
            start, end = logits[row].double().tolist()
            null = min(null, start[window.no_answer] + end[window.no_answer])
            inside = range(window.first, window.first + len(window.starts))
            best = [sorted(range(14), key=lambda n: -of[n])[:n_best] for of in (start, end)]
            for first, last in itertools.product(*best):
                if first in inside and last in inside and first <= last < first + 5:
                    places = window.starts[first - 3], window.ends[last - 3]
                    found.append((start[first] + end[last], *places))
        readings.append(reading_of(question.context, found, null=null, n_best=N_BEST))
    return readings


def test_best_spans_are_the_best_of_all_that_are_allowed() -> None:
    logits = logits_of(6).double()
    inside = torch.arange(14)[None] >= torch.tensor([[0], [3], [9], [12], [13], [14]])
    scores, spans = best_spans(logits, inside, n_best=7, max_tokens=4)
    for row in range(6):
        every = [
            (float(logits[row, 0, first] + logits[row, 1, last]), (first, last))
            for first in range(14)
            for last in range(first, min(first + 4, 14))
            if inside[row, first]
        ]
        expected = sorted(every, reverse=True)[:7]
        n = len(expected)
        assert scores[row, :n].tolist() == [score for score, _ in expected]
        assert [tuple(span) for span in spans[row, :n].tolist()] == [span for _, span in expected]
        assert (scores[row, n:] == -math.inf).all()
    assert (scores[5] == -math.inf).all()  # a row without any token of a context


def test_a_row_shorter_than_an_answer_may_be_and_with_fewer_spans_than_are_asked_for() -> None:
    scores, _ = best_spans(torch.zeros(1, 2, 2), torch.ones(1, 2) > 0, n_best=9, max_tokens=30)
    assert scores.isfinite().sum() == 3


def test_windows_are_joined_as_the_script_of_transformers_does() -> None:
    logits = logits_of(len(quiz()[1]))
    metric = answers()
    metric.update(logits, torch.arange(len(logits)))
    for reading, expected in zip(metric.readings(), of_script(logits, n_best=14), strict=True):
        assert [(c.text, c.start) for c in reading.candidates] == [
            (c.text, c.start) for c in expected.candidates
        ]
        assert reading.no_answer == pytest.approx(expected.no_answer, abs=1e-5)


def test_all_pairs_are_never_worse_than_those_of_the_best_begins_and_ends() -> None:
    better = 0
    for seed in range(5):
        logits = logits_of(len(quiz()[1]), seed)
        metric = answers()
        metric.update(logits, torch.arange(len(logits)))
        for reading, other in zip(metric.readings(), of_script(logits, n_best=2), strict=True):
            assert reading.no_answer <= other.no_answer + 1e-5
            better += reading.no_answer < other.no_answer - 1e-5
    assert better


@pytest.mark.parametrize("seed", range(4))
def test_every_order_and_split_into_batches_gives_the_same_answers(seed: int) -> None:
    rng, n = random.Random(seed), len(quiz()[1])
    logits, rows = logits_of(n), rng.sample(range(n), n)
    whole, split = answers(), answers()
    whole.update(logits, torch.arange(n))
    while rows:
        some = [*rows[: rng.randint(1, 6)], -1]  # and a filler
        rows = rows[len(some) - 1 :]
        split.update(logits[some], torch.tensor(some))
    assert split.readings() == whole.readings()
    assert same_values(split.values(), whole.values())


def test_an_answer_has_no_white_space_around_it_and_is_none_by_itself() -> None:
    """As of a byte-level tokenizer, whose tokens begin with the space before a word."""
    context = "in  Paris\n."
    spans = [(5.0, 2, 4), (4.0, 3, 9), (3.0, 4, 10), (2.0, 2, 9), (1.0, 9, 11), (0.5, 0, 9)]
    reading = reading_of(context, spans, null=1.5, n_best=4)
    assert reading.candidates == [
        Candidate("Paris", 4.0, 4),
        Candidate(".", 1.0, 10),
        Candidate("in  Paris", 0.5, 0),
    ]
    assert reading.no_answer == 1.5 - 4.0
    assert reading_of(" \n", [(1.0, 0, 1), (0.5, 0, 2)], null=0.0, n_best=4) == Reading([], 0.0)


def test_the_answer_of_a_byte_level_tokenizer_is_the_words_of_the_text() -> None:
    definition = RustTokenizer(
        models.BPE(
            vocab={token: n for n, token in enumerate(["[CLS]", "[SEP]", *"Ġabdin", "Ġa"])},
            merges=[("Ġ", "a")],
        )
    )
    definition.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    definition.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 0), ("[SEP]", 1)],
    )
    tokenizer = Tokenizer(definition=definition.to_str(), settings={"cls_token": "[CLS]"})
    question = Question(id="1", text="a", context="in  abad", answers=("abad",), span=(4, 8))
    framing = QuestionFraming(tokenizer, seq_len=40, stride=2, max_question_tokens=4)
    ((window, framed),) = framing.windows([question])
    assert question.span
    first, last = answer_places(window, question.span)  # type: ignore[misc]
    assert question.context[window.starts[first - window.first]].isspace()  # ` a` is one token
    logits = torch.zeros(1, 2, len(framed.ids))
    logits[0, 0, first] = logits[0, 1, last] = 9
    metric = SpanAnswers(questions=[question], windows=[window])
    metric.update(logits, torch.tensor([0]))
    assert metric.readings()[0].candidates[0] == Candidate("abad", 18.0, 4)


def test_the_values_are_those_of_the_official_definition_at_the_threshold() -> None:
    metric, questions = answers(threshold=-0.2), quiz()[0]
    metric.update(logits_of(len(quiz()[1])), torch.arange(len(quiz()[1])))
    plain = SquadScore()
    plain.update([r.answer(-0.2) for r in metric.readings()], [q.answers for q in questions])
    values = metric.values()
    assert values.pop("no_answer_threshold") == -0.2
    assert values == plain.values()
    assert 0 < values["f1"] < 1
    assert "no_answer_threshold" not in answers(threshold=math.inf).values()


def test_a_threshold_is_chosen_on_the_questions_that_are_not_measured() -> None:
    metric, questions = answers(n_measured=4), quiz()[0]
    metric.update(logits_of(len(quiz()[1])), torch.arange(len(quiz()[1])))
    readings = metric.readings()
    found = best_threshold(
        [squad_f1(r.text, q.answers) for r, q in zip(readings[4:], questions[4:], strict=True)],
        [reading.no_answer for reading in readings[4:]],
        [bool(question.answers) for question in questions[4:]],
    )
    assert metric.best_threshold() == found
    plain = SquadScore()
    plain.update([r.answer(0.5) for r in readings[:4]], [q.answers for q in questions[:4]])
    assert {k: v for k, v in metric.values().items() if k != "no_answer_threshold"} == (
        plain.values()
    )
    assert answers().best_threshold() is None


def test_probabilities_are_those_of_the_candidates_and_of_no_answer() -> None:
    reading = Reading([Candidate("a", 800.0, 0), Candidate("b", 799.0, 1)], null=798.0)
    expected = torch.tensor([800.0, 799.0, 798.0], dtype=torch.float64).softmax(0).tolist()
    assert reading.probabilities() == pytest.approx(expected)
    nothing = Reading([], null=3.0)
    assert (nothing.text, nothing.no_answer, nothing.probabilities()) == ("", math.inf, [1.0])
