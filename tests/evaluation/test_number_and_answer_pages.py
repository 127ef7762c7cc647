"""The parts of a run's page that are about predicted numbers and about answers."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from evaluation.test_run_page import headings, made

from roots.evaluation import report_run
from roots.evaluation.answer_section import answers_figure, threshold_figure
from roots.evaluation.class_figures import rates_figure
from roots.evaluation.class_section import rates_of
from roots.evaluation.number_section import numbers_figure

NUMBERS = {
    "rows": 3,
    "pearson": 0.5,
    "spearman": None,
    "label": [1.0, 2.0, 3.0],
    "predicted": [1.5, 2.0, 2.0],
    "mean": -0.17,
    "deviation": 0.62,
    "edges": [-1.0, 0.0, 1.0],
    "count": [1, 2],
    "largest": [{"label": 3.0, "predicted": 2.0, "text": "a far one", "where": "val.csv:9"}],
}
ANSWERS = {
    "parts": [{"part": "answerable", "questions": 2, "exact_match": 0.5, "f1": 0.75}],
    "answer_words": [{"from": 4, "to": 5, "questions": 2, "exact_match": 0.5, "f1": 0.75}],
    "context_words": [{"from": 301, "to": None, "questions": 2, "exact_match": 0.5, "f1": 0.75}],
    "threshold": {
        "value": 0.5,
        "curve": [
            {"threshold": -1.0, "exact_match": 0.2, "f1": 0.3},
            {"threshold": 1.0, "exact_match": 0.4, "f1": 0.6},
        ],
    },
    "mistakes": [
        {
            "id": "q7",
            "question": "who?",
            "answers": ["he", "him"],
            "given": "",
            "probability": 0.9,
            "context": "it was he",
        }
    ],
}


def test_numbers_and_answers_have_their_pictures_and_tables(tmp_path: Path) -> None:
    run = made(tmp_path, details_val={"numbers": NUMBERS}, details_test={"answers": ANSWERS})
    html = report_run(run).read_text()
    found = headings(html)
    assert "Predicted numbers, on validation data" in found
    assert "Answers, on test data" in found
    for name in ("numbers", "answers-test", "threshold-test"):
        assert (run.path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert '<td class="number">-1</td>' in html
    for words in ("a far one", "val.csv:9", "(no answer)", "he / him", "it was he", "3 rows."):
        assert words in html


def test_what_is_drawn_of_numbers_and_answers_has_its_units_and_its_own_values() -> None:
    pairs, spread = numbers_figure(NUMBERS).axes
    assert (pairs.get_xlabel(), pairs.get_ylabel()) == ("label", "predicted")
    assert pairs.get_title("left") == "Pearson 0.500"
    assert pairs.collections[0].get_offsets().tolist() == [[1.0, 1.5], [2.0, 2.0], [3.0, 2.0]]
    assert [list(line.get_xdata()) for line in pairs.lines] == [[1.0, 3.0]]
    assert [patch.get_height() for patch in spread.patches] == [1, 2]
    assert spread.get_xlabel() == "predicted minus label"
    parts, by_answer, by_context = answers_figure(ANSWERS).axes
    assert [patch.get_height() for patch in parts.patches] == [0.5, 0.75]
    assert parts.get_ylabel() == "score (0 to 1)"
    for axes, label in ((by_answer, "4–5"), (by_context, "301+")):
        assert [text.get_text() for text in axes.get_xticklabels()] == [label]
    (axes,) = threshold_figure(ANSWERS["threshold"]).axes
    assert list(axes.lines[2].get_xdata()) == [0.5, 0.5], "the threshold that is used"
    assert list(axes.lines[1].get_ydata()) == [0.3, 0.6]


@pytest.mark.parametrize("value", [None, -math.inf])
def test_a_threshold_that_answers_nothing_has_words_and_no_line(value: float | None) -> None:
    figure = threshold_figure({**ANSWERS["threshold"], "value": value})
    (axes,) = figure.axes
    assert [len(line.get_xdata()) for line in axes.lines] == [2, 2, 0]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[2] == "used: -inf, nothing is answered"


@pytest.mark.parametrize("key", ["numbers", "answers"])
def test_damaged_numbers_and_answers_are_told(tmp_path: Path, key: str) -> None:
    run = made(tmp_path, details_val={key: {"rows": 1}})
    assert "details-val.json is damaged" in report_run(run).read_text()


def test_the_parts_of_questions_are_no_classes() -> None:
    rows = [
        {"val/f1/HasAns": 0.5, "val/exact_match/HasAns": 0.4},
        {"val/recall/a": 1, "val/f1/a": 1},
    ]
    record = SimpleNamespace(test={}, validated={}, details={}, rows=rows)
    assert rates_of(record, "val") == {"a": {"recall": 1, "f1": 1}}


def test_a_class_that_does_not_occur_does_not_disturb_the_order() -> None:
    f1 = {"a": 0.9, "absent": math.nan, "b": 0.2, "c": 0.5}
    test = {f"test/{rate}/{name}": n for name, n in f1.items() for rate in ("recall", "f1")}
    rates = rates_of(SimpleNamespace(test={**test, "checkpoint": "best"}, details={}), "test")
    assert list(rates) == ["a", "b", "c"]
    (axes,) = rates_figure(rates).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["b", "c", "a"]
