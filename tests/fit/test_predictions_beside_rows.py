"""`roots predict --to FILE` never replaces the rows that it reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_runs import make_run
from quizzes import quiz_files
from tiny import tiny_config
from tiny_tasks import classes, task_config, write_jsonl

from roots.cli import run as roots
from roots.data import Augment, LabelledTexts, Mixture, Questions, TokenCorpus
from roots.errors import ConfigError
from roots.fit import compose
from roots.fit.predictions import check_file, refuse_what_is_read
from roots.records import rebuild
from roots.shards import ShardMaker


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


def a_corpus(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Gives a file of texts, and the settings of the corpus that is made of it."""
    rows = [{"text": f"the cat sat on the mat, {number} times and again"} for number in range(9)]
    texts = write_jsonl(folder / "texts.jsonl", rows)
    source = {"class_path": "roots.sources.Jsonl", "init_args": {"paths": [str(texts)]}}
    tokenizer = {"class_path": "roots.corpus.BytePairs", "init_args": {"vocab_size": 280}}
    arguments = {"source": source, "tokenizer": tokenizer, "val_fraction": 0.3, "workers": 1}
    out = {"out": str(folder / "made")}
    return texts, {"class_path": "roots.corpus.Corpus", "init_args": {**arguments, **out}}


def test_the_text_of_a_corpus_is_not_replaced_by_what_is_said_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, corpus = a_corpus(tmp_path)
    config = tiny_config(tmp_path, tmp_path / "runs", max_steps=3)
    config["data"]["init_args"]["shards"] = corpus
    run = compose(config).fit()
    before = texts.read_bytes()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.csv").symlink_to(texts)
    command = [sys.executable, "-m", "roots", "predict", "--run", str(run.path), "--to"]
    done = subprocess.run([*command, "texts.jsonl"], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "read from" in done.stderr
    with pytest.raises(ConfigError, match=r"link\.csv is a file .*/texts-predictions\.csv"):
        roots(["predict", "--run", str(run.path), "--to", "link.csv"])
    assert texts.read_bytes() == before
    assert roots(["predict", "--run", str(run.path), "--to", "texts-predictions.jsonl"]) == 0
    assert Path("texts-predictions.jsonl").stat().st_size > 0


def test_of_a_mixture_no_text_is_replaced_and_nothing_in_a_folder_of_shards(
    tmp_path: Path, shards: Path
) -> None:
    texts, corpus = a_corpus(tmp_path)
    made = rebuild(corpus, ShardMaker)  # type: ignore[type-abstract]
    data = TokenCorpus(shards=Mixture(corpora={"tiny": str(shards), "mine": made}))
    (tmp_path / "made").mkdir()
    dropped = write_jsonl(tmp_path / "made" / "dropped.jsonl", [{"text": "dog"}])
    (tmp_path / "said.jsonl").write_text("")
    refuse_what_is_read(tmp_path / "said.jsonl", data)
    for file in (texts, dropped):
        with pytest.raises(ConfigError, match=rf"{file.name} is a file that rows are read from"):
            refuse_what_is_read(file, data)
    texts.unlink()
    refuse_what_is_read(tmp_path / "said.jsonl", data)  # a corpus whose text is gone serves on


def test_a_list_that_a_setting_names_is_not_replaced_either(tmp_path: Path) -> None:
    words = tmp_path / "synonyms.csv"
    words.write_text("cat,kitten\n")
    augment = Augment(synonyms=str(words), replace=0.1)
    data = LabelledTexts(train=str(tmp_path / "gone.jsonl"), augment=augment)
    with pytest.raises(ConfigError, match=r"synonyms\.csv is a file that rows are read from"):
        refuse_what_is_read(words, data)


def test_in_a_runs_directory_only_predictions_are_written(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs" / "tiny" / "0001")
    before = run.metrics_file.read_bytes()
    for name in ("metrics.csv", "samples.jsonl", "checkpoints/rows.jsonl"):
        cure = rf"directory of a run .*predictions-{Path(name).name}"
        with pytest.raises(ConfigError, match=cure):
            check_file(run.path / name)
    (tmp_path / "here").symlink_to(run.path)
    with pytest.raises(ConfigError, match="directory of a run"):
        check_file(tmp_path / "here" / "metrics.csv")
    assert run.metrics_file.read_bytes() == before
    check_file(run.path / "predictions-metrics.csv")  # the cure
    check_file(run.path / "predictions.jsonl")
    (tmp_path / "config.yaml").write_text("name: tiny\n")
    check_file(tmp_path / "said.jsonl")  # a run file beside it makes no run
