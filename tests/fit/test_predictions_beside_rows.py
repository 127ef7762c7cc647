"""`roots predict --to FILE` never replaces the rows that it reads."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from quizzes import quiz_files
from tiny_tasks import classes, task_config, write_jsonl

from roots.cli import run as roots
from roots.data import LabelledTexts, Questions
from roots.errors import ConfigError
from roots.fit import compose
from roots.fit.predictions import refuse_what_is_read


def test_the_rows_asked_about_are_not_replaced_by_what_is_said_of_them(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = classes(60, 0)
    arguments = {
        "train": str(write_jsonl(tmp_path / "train.jsonl", rows[:-12])),
        "val": str(write_jsonl(tmp_path / "val.jsonl", rows[-12:])),
        "sequences_per_step": 8,
        "seq_len": 48,
    }
    part = {"class_path": "roots.data.LabelledTexts", "init_args": arguments}
    config = task_config("SequenceClassifier", part, encoder, tmp_path / "runs", max_steps=3)
    run = compose(config).fit()
    asked = write_jsonl(tmp_path / "rows.jsonl", rows[:3])
    before = asked.read_bytes()
    (tmp_path / "link.jsonl").symlink_to(asked)
    monkeypatch.chdir(tmp_path)
    command = ["predict", "--run", str(run.path), "--from", "rows.jsonl", "--to"]
    for place in ("rows.jsonl", "runs/../rows.jsonl", "link.jsonl"):
        with pytest.raises(
            ConfigError, match=r"read from \(rows\.jsonl\).*rows-predictions\.jsonl"
        ):
            roots([*command, place])
    with pytest.raises(ConfigError, match=r"read from \(.*val\.jsonl\)"):
        roots([*command, "val.jsonl"])
    assert asked.read_bytes() == before
    assert roots([*command, "rows-predictions.jsonl"]) == 0  # the cure
    said = [json.loads(line) for line in Path("rows-predictions.jsonl").read_text().splitlines()]
    assert [row["where"] for row in said] == [f"rows.jsonl:{n}" for n in (1, 2, 3)]


def test_files_that_are_gone_or_asked_of_the_hub_are_in_nobodys_way(tmp_path: Path) -> None:
    asked = tmp_path / "asked.txt"
    asked.write_text("the cat\n")
    data = LabelledTexts(train=str(tmp_path / "gone.jsonl"), val=str(tmp_path / "gone-too.jsonl"))
    data.predict_from = str(asked)
    (tmp_path / "said.jsonl").write_text("")
    refuse_what_is_read(tmp_path / "said.jsonl", data)
    os.link(asked, tmp_path / "same.jsonl")
    with pytest.raises(ConfigError, match=r"same\.jsonl is a file that rows are read from"):
        refuse_what_is_read(tmp_path / "same.jsonl", data)


def test_the_other_forms_of_predictions_replace_no_rows_either(tmp_path: Path) -> None:
    folder = quiz_files(tmp_path)
    rows = (folder / "dev.json").rename(folder / "dev.squad.json")
    data = Questions(train=str(folder / "train.json"), val=str(rows))
    refuse_what_is_read(tmp_path / "dev.jsonl", data)
    with pytest.raises(ConfigError, match=r"dev\.squad\.json is a file that rows are read from"):
        refuse_what_is_read(tmp_path / "dev.jsonl", data, [".squad.json"])
