"""Squad: questions with and without answers, each answer where it says."""

from __future__ import annotations

import json

import pytest

from roots.errors import DataError
from roots.records import BadRow, Row
from roots.sources.rows import Squad, check_answers

CONTEXT = "Köln lies on the Rhine, and the Rhine flows north."


def question(name: str, **changed: object) -> dict:
    answers = [{"text": "the Rhine", "answer_start": 13}]
    return {"id": name, "question": "Where?", "answers": answers} | changed


def put(path, *questions: object, context: object = CONTEXT) -> Squad:
    paragraphs = [{"context": context, "qas": list(questions)}]
    path.write_text(
        json.dumps({"version": "v2.0", "data": [{"title": "K", "paragraphs": paragraphs}]})
    )
    return Squad(paths=str(path))


def refused(source: Squad) -> list[BadRow]:
    return [row for row in source.read() if isinstance(row, BadRow)]


def test_both_versions_are_read(tmp_path) -> None:
    path = tmp_path / "dev.json"
    source = put(
        path, question("a"), question("b", answers=[], is_impossible=True, plausible_answers=[])
    )
    with_answer, without = source.rows()
    assert with_answer.fields == {
        "id": "a",
        "title": "K",
        "context": CONTEXT,
        "question": "Where?",
        "answers": [{"text": "the Rhine", "answer_start": 13}],
        "is_impossible": False,
    }
    assert (without.fields["answers"], without.fields["is_impossible"]) == ([], True)
    assert without.where == f"{path} .data[0].paragraphs[0].qas[1]"


@pytest.mark.parametrize(
    ("changed", "reason", "words"),
    [
        (
            {"answers": [{"text": "the Rhine", "answer_start": 14}]},
            "answer not where it says",
            "has 'he Rhine,' at 14, not the answer 'the Rhine'. It is at 13: correct answer_start",
        ),
        (
            {"answers": [{"text": "the Rhine", "answer_start": 30}]},
            "answer not where it says",
            "It is at 28",
        ),
        (
            {"answers": [{"text": "the Elbe", "answer_start": -1}]},
            "answer not where it says",
            "It is nowhere in the context",
        ),
        (
            {"answers": [{"text": "", "answer_start": 0}]},
            "empty text",
            "text of an answer is empty",
        ),
        ({"answers": []}, "answers contradict is_impossible", "set is_impossible to true"),
        ({"is_impossible": True}, "answers contradict is_impossible", "an answer, 'the Rhine'"),
        ({"question": " "}, "empty text", "'question' is empty"),
        ({"question": 3}, "missing value", "'question' is a number, not a string"),
        ({"id": None}, "missing value", "'id' is null, not a string"),
        ({"answers": [{"text": "x"}]}, "missing value", "not a list of {text, answer_start}"),
        ({"answers": [{"text": "x", "answer_start": 1.5}]}, "missing value", "'answers' is a list"),
        ({"id": "first"}, "id given twice", "'first' was given to"),
    ],
)
def test_a_bad_question_costs_itself(tmp_path, changed, reason, words) -> None:
    path = tmp_path / "dev.json"
    source = put(path, question("first"), question("bad") | changed, question("last"))
    (bad,) = refused(source)
    assert bad.reason == reason
    assert bad.message.startswith(f"{path} .data[0].paragraphs[0].qas[1]")
    assert words in bad.message
    assert [r.fields["id"] for r in source.read() if isinstance(r, Row)] == ["first", "last"]


def test_what_has_no_form_at_all_is_named_by_place(tmp_path) -> None:
    path = tmp_path / "dev.json"
    (bad,) = refused(put(path, question("a"), 7))
    assert bad.message.startswith(
        f"{path} .data[0].paragraphs[0].qas[1] is a number, not an object"
    )
    good = {"title": "T", "paragraphs": [{"context": CONTEXT, "qas": [question("a")]}]}
    path.write_text(json.dumps({"data": [{"title": "x"}, 7, good]}))
    first, second = refused(Squad(paths=str(path)))
    assert first.message.startswith(f"{path} .data[0] has no 'paragraphs'; its keys are: title")
    assert second.message.startswith(f"{path} .data[1] is a number, not an object")
    assert len(list(Squad(paths=str(path)).read())) == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('[{"question": 1}]', r"is a list, and not SQuAD's .*JsonRows"),
        ('{"rows": [], "x": 1}', r"is an object with rows, x, and not SQuAD's"),
        ('{"data": [', r"is not JSON: .*fetch the file again"),
    ],
)
def test_another_file_is_refused(tmp_path, content, words) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=words):
        list(Squad(paths=str(tmp_path)).read())


def test_flat_rows_of_the_datasets_library_are_brought_to_the_same_form() -> None:
    fields = {"id": "a", "question": "q", "context": CONTEXT}
    flat = Row({**fields, "answers": {"text": ["Köln"], "answer_start": [0]}}, "x:1")
    made = check_answers(flat)
    assert made.fields["answers"] == [{"text": "Köln", "answer_start": 0}]
    assert made.fields["is_impossible"] is False
    empty = check_answers(Row({**fields, "answers": {"text": [], "answer_start": []}}, "x:2"))
    assert empty.fields["is_impossible"] is True
    ragged = check_answers(Row({**fields, "answers": {"text": ["a"], "answer_start": []}}, "x:3"))
    assert isinstance(ragged, BadRow)
