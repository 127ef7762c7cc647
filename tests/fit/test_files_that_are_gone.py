"""A run is asked and measured without the files that it was only trained by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from quizzes import quiz_config, quiz_files
from tiny_chat import CHATML, chat_config, conversations, write_chat_network
from tiny_tasks import (
    classes,
    tagged,
    tagging_config,
    task_config,
    words_data,
    write_bert,
    write_jsonl,
)

from roots.cli import run as roots
from roots.errors import DataError
from roots.fit import compose
from roots.runs import Run

OTHERWISE = CHATML.replace("<|im_start|>", "<|endoftext|>")


def measured(run: Run, *flags: str) -> tuple[dict[str, Any], str]:
    """What is measured on the validation rows, and what is predicted of them."""
    of_run = ["--run", str(run.path), "--checkpoint", "last", *flags]
    before = set(run.path.glob("validate*.json"))
    assert roots(["validate", *of_run]) == 0
    (file, *_) = set(run.path.glob("validate*.json")) - before or before
    out = run.path / "predictions-said.jsonl"
    assert roots(["predict", *of_run, "--to", str(out)]) == 0
    return json.loads(file.read_text()), out.read_text()


def test_the_names_of_classes_and_the_synonyms(encoder: Path, tmp_path: Path) -> None:
    rows = classes(60, 0)
    labels, synonyms = tmp_path / "labels.txt", tmp_path / "synonyms.txt"
    labels.write_text("none\ncat\ndog\n")
    synonyms.write_text("tree,mat\n")
    augment = {"rows": 1.0, "replace": 0.5, "synonyms": str(synonyms)}
    arguments = {
        "train": str(write_jsonl(tmp_path / "train.jsonl", rows[:48])),
        "val": str(write_jsonl(tmp_path / "val.jsonl", rows[48:])),
        "labels": str(labels),
        "augment": {"class_path": "roots.data.Augment", "init_args": augment},
        "sequences_per_step": 8,
        "seq_len": 48,
    }
    part = {"class_path": "roots.data.LabelledTexts", "init_args": arguments}
    config = task_config("SequenceClassifier", part, encoder, tmp_path / "runs", max_steps=3)
    run = compose(config).fit()
    config["model"]["init_args"]["balance"] = True  # for which training rows are read
    balanced = compose(config).fit()
    before, weighed = measured(run), measured(balanced)
    synonyms.unlink()
    assert measured(balanced) == weighed
    with pytest.raises(DataError, match=r"synonyms\.txt cannot be read"):
        compose(config).fit()
    labels.write_text("dog\ncat\nnone\n")
    assert measured(run) == before
    labels.unlink()
    assert measured(run) == before
    with pytest.raises(DataError, match=r"labels\.txt does not exist"):
        compose(config, {"data.augment": None}).data.describe()


def test_the_names_of_tags(tmp_path: Path) -> None:
    names = tmp_path / "tags.txt"
    names.write_text("O\nI-place\nB-place\nI-animal\nB-animal\n")
    data = words_data(tmp_path, tagged(60, 1), labels=str(names))
    config = tagging_config(write_bert(tmp_path / "bert"), tmp_path / "runs", data, max_steps=3)
    run = compose(config).fit()
    before = measured(run)
    names.unlink()
    assert measured(run) == before


def test_the_chat_template(tmp_path: Path) -> None:
    template = tmp_path / "chat.jinja"
    template.write_text(CHATML)
    network = write_chat_network(tmp_path / "network")
    config = chat_config(network, tmp_path, conversations(40, 1), template=str(template))
    run = compose(config).fit()
    before = measured(run)
    template.write_text(OTHERWISE)
    assert measured(run) == before  # by the template that it was trained with
    template.unlink()
    assert measured(run) == before
    other = tmp_path / "other.jinja"
    other.write_text(OTHERWISE)
    told, _ = measured(run, "--data.template", str(other))  # one that is asked for is taken
    assert told["val/loss"] != pytest.approx(before[0]["val/loss"], rel=1e-4)
    assert "data.template" in told["data"]["unlike"][0]


@pytest.mark.parametrize("without", [False, True])
def test_questions_that_choose_no_threshold(tmp_path: Path, without: bool) -> None:
    """All have answers; or some have none, and no questions are held out for the threshold."""
    config = quiz_config(quiz_files(tmp_path, without=without), tmp_path / "runs")
    config["data"]["init_args"]["threshold_fraction"] = 0.0 if without else 0.3
    run = compose(config).fit()
    before = measured(run)
    assert ("val/no_answer_threshold" in before[0]) == without
    (tmp_path / "train.json").unlink()
    assert measured(run) == before
