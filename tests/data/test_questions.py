"""Questions as training rows: labels, what is held out, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quizzes import quiz_files, squad

from roots.batch import IGNORE
from roots.data import Questions
from roots.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quiz_files(tmp_path_factory.mktemp("quiz"))


def data_of(folder: Path, **changes: Any) -> Questions:
    settings = {
        "train": str(folder / "train.json"),
        "val": str(folder / "dev.json"),
        "tokenizer": str(folder / "tokenizer"),
        "seq_len": 32,
        "stride": 8,
        "max_question_tokens": 8,
        "threshold_fraction": 0.3,
        **changes,
    }
    return Questions(**settings)


def changed(folder: Path, target: Path, change: Any) -> Path:
    """A copy of the training file with its third question changed."""
    content = json.loads((folder / "train.json").read_text())
    change(content["data"][0]["paragraphs"][0]["qas"])
    target.write_text(json.dumps(content))
    return target


def test_labels_hold_the_answer_or_point_at_no_answer(folder: Path) -> None:
    data = data_of(folder)
    split = data.split("train")
    cls = data.tokenizer.token_id("[CLS]")
    whole = {}
    for row, (window, (first, last)) in enumerate(zip(split.windows, split.labels, strict=True)):
        question = split.questions[window.question]
        if split.input_ids[row][first] == cls:
            assert first == last
            assert not question.answers or not (
                window.starts[0] <= question.span[0] and question.span[1] <= window.ends[-1]
            )
            continue
        start, end = window.starts[first - window.first], window.ends[last - window.first]
        assert question.context[start:end] == question.answers[0]
        whole[window.question] = whole.get(window.question, 0) + 1
    assert {n for n, q in enumerate(split.questions) if q.answers} == {*whole, *split.nowhere}
    assert max(whole.values()) > 1  # in the overlap of two
    assert len(split) > len(split.questions) == 6 * 6 - len(data.split("threshold").questions)
    assert data.n_train == len(split)


def test_answers_that_every_window_cuts_are_counted_and_named(folder: Path) -> None:
    fewer = data_of(folder, seq_len=21, stride=1)
    split = fewer.split("train")
    lost = split.nowhere
    assert lost
    said = [r for r in fewer.remarks if f"the answers of {len(lost)} of" in r]
    (place,) = {
        where
        for where, window in zip(split.where, split.windows, strict=True)
        if window.question == lost[0]
    }
    assert split.questions[lost[0]].answers
    assert place in said[0]
    assert "larger data.stride" in said[0]
    assert len(data_of(folder, seq_len=21, stride=8).split("train").nowhere) < len(lost)


def test_whole_articles_are_held_out_and_none_is_in_two_parts(folder: Path) -> None:
    data = data_of(folder, val="", val_fraction=0.3)
    articles = {
        name: {q.id.split("-")[1] for q in data.split(name).questions}
        for name in ("train", "val", "threshold")
    }
    assert [len(found) for found in articles.values()] == [3, 2, 1]
    assert not articles["train"] & articles["val"]
    assert not articles["threshold"] & (articles["train"] | articles["val"])
    assert data_of(folder, val="").split("threshold").questions == (
        data_of(folder, val="").split("threshold").questions
    )
    by_context = data_of(folder, hold_out_by="context", threshold_fraction=0.09)
    assert {q.context for q in by_context.split("threshold").questions}.isdisjoint(
        q.context for q in by_context.split("train").questions
    )
    assert len(by_context.split("threshold").questions) == 3  # one of twelve contexts


def test_a_validation_also_reads_what_the_threshold_is_chosen_on(folder: Path) -> None:
    data = data_of(folder)
    val, threshold, both = (data.split(n) for n in ("val", "threshold", "val and threshold"))
    assert len(both) == len(val) + len(threshold)
    assert both.n_measured == len(val.questions) == 12
    for row in range(len(threshold)):
        there = len(val) + row
        assert (both.input_ids[there] == threshold.input_ids[row]).all()
        assert (
            both.others["token_type_ids"][there] == threshold.others["token_type_ids"][row]
        ).all()
        asked = both.questions[both.windows[there].question]
        assert asked == threshold.questions[threshold.windows[row].question]
        assert both.where[there] == threshold.where[row]
    assert (both.labels[len(val) :] == IGNORE).all()
    assert np.array_equal(both.labels[: len(val)], val.labels)
    assert data.asked("fit") is data.asked("validate") is both
    assert data.asked("predict") is val
    assert data_of(folder, test=data.val).asked("test").questions == val.questions


def test_squad_1_holds_nothing_out_for_a_threshold(tmp_path: Path) -> None:
    data = data_of(quiz_files(tmp_path, without=False))
    assert not data.split("threshold").questions
    assert not data.some_have_no_answer
    assert "choose" not in data.describe()
    assert "choose the threshold" in data_of(quiz_files(tmp_path)).describe()


def test_flat_rows_as_the_datasets_library_has_them_are_read(folder: Path, tmp_path: Path) -> None:
    rows = []
    for article in json.loads((folder / "train.json").read_text())["data"]:
        for paragraph in article["paragraphs"]:
            for asked in paragraph["qas"]:
                lists = {
                    key: [a[key] for a in asked["answers"]] for key in ("text", "answer_start")
                }
                row = {"key": asked["id"], "title": article["title"], "answers": lists}
                rows.append(row | {"question": asked["question"], "context": paragraph["context"]})
    flat = tmp_path / "train.jsonl"
    flat.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = data_of(folder, train=str(flat), val="", columns={"id": "key"})
    expected = data_of(folder, val="")
    assert made.split("train").questions == expected.split("train").questions
    assert made.fingerprint == expected.fingerprint
    flat.write_text(json.dumps(rows[0]) + "\n" + json.dumps(rows[0]) + "\n")
    with pytest.raises(DataError, match=rf"train.jsonl:2: the id '{rows[0]['key']}' was given to"):
        data_of(folder, train=str(flat), val="", columns={"id": "key"}).split("train")


def test_an_answer_that_is_not_where_it_says_is_refused_by_its_place(
    folder: Path, tmp_path: Path
) -> None:
    def move(questions: list[dict[str, Any]]) -> None:
        questions[1]["answers"][0]["answer_start"] += 1

    bad = changed(folder, tmp_path / "bad.json", move)
    with pytest.raises(DataError, match=r"\.data\[0\]\.paragraphs\[0\]\.qas\[1\]: .* It is at"):
        data_of(folder, train=str(bad)).split("train")
    skips = {"on_bad_row": "skip", "max_bad_fraction": 0.1}
    kept = data_of(folder, train=str(bad), **skips)
    kept.split("train")
    assert any("1 of 36 rows were left out" in remark for remark in kept.remarks)


def test_contexts_that_training_and_validation_share_are_told(folder: Path) -> None:
    data = data_of(folder, val=str(folder / "train.json"))
    data.split("train")
    assert any("have a text that train has" in remark for remark in data.remarks)
    fair = data_of(folder)
    fair.split("train")
    assert not any("train has" in remark for remark in fair.remarks)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stride": -1}, "stride=-1 .* 0 or more"),
        ({"max_question_tokens": 0}, "max_question_tokens=0 .* 1 or more"),
        ({"threshold_fraction": 1.0}, "threshold_fraction=1 .* less than 1"),
        ({"hold_out_by": "id"}, "hold_out_by='id' is none of title, context"),
    ],
)
def test_numbers_that_cannot_work_are_refused(
    folder: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        data_of(folder, **changes)


def test_one_article_cannot_be_held_out_and_the_two_cures_work(
    folder: Path, tmp_path: Path
) -> None:
    one = tmp_path / "one.json"
    one.write_text(json.dumps(squad(1, seed=5)))
    with pytest.raises(ConfigError, match=r"data.threshold_fraction.*data.hold_out_by") as told:
        data_of(folder, train=str(one)).split("train")
    assert "6 rows in 1 groups" in str(told.value)
    cures: list[dict[str, Any]] = [{"hold_out_by": "context"}, {"threshold_fraction": 0}]
    for cure in cures:
        assert len(data_of(folder, train=str(one), **cure).split("train"))
    assert len(data_of(folder, train=str(one), **cures[0]).split("threshold").questions) == 3


@pytest.mark.parametrize("how", [{"val_fraction": 0.25}, {"folds": 3, "fold": 1}])
def test_questions_without_titles_that_cannot_be_held_out_name_the_cure(
    folder: Path, tmp_path: Path, how: dict[str, Any]
) -> None:
    rows = [
        {"id": str(n), "question": "who", "context": f"cat {n}", "answers": []} for n in range(12)
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"train": str(file), "val": "", "threshold_fraction": 0.0, **how}
    with pytest.raises(ConfigError, match=r"\(12 rows have none .* data\.hold_out_by to context"):
        data_of(folder, **settings).split("val")
    assert len(data_of(folder, **settings, hold_out_by="context").split("val").questions) in (3, 4)
