"""What `validate`, `test` and `predict` say of the rows that they read, or of there being none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_tasks import classes, task_config, write_jsonl

from roots.cli import run as roots
from roots.errors import ConfigError
from roots.fit import compose
from roots.runs import Run

ROWS = classes(60, 0)


def run_of(encoder: Path, folder: Path, **data: Any) -> Run:
    arguments = {
        "train": str(write_jsonl(folder / "train.jsonl", ROWS[:40])),
        "sequences_per_step": 8,
        "seq_len": 24,
        "on_bad_row": "skip",
        "max_bad_fraction": 0.5,
        **data,
    }
    part = {"class_path": "roots.data.LabelledTexts", "init_args": arguments}
    config = task_config("SequenceClassifier", part, encoder, folder / "runs", max_steps=3)
    return compose(config).fit()


@pytest.fixture(scope="module")
def run(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("skips")
    return run_of(encoder, folder, val=str(write_jsonl(folder / "val.jsonl", ROWS[40:])))


def said(capsys: pytest.CaptureFixture[str], run: Run, verb: str, *flags: str) -> list[str]:
    """The lines on stderr of a verb."""
    capsys.readouterr()
    assert roots([verb, "--run", str(run.path), "--checkpoint", "last", *flags]) == 0
    return [line for line in capsys.readouterr().err.splitlines() if "shards" not in line]


def test_rows_that_are_left_out_or_cut_are_told(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [{"text": "it ran"}, {"text": "  "}, {"text": "the cat sat " * 20}, {"text": "a dog"}]
    file = str(write_jsonl(tmp_path / "asked.jsonl", asked))
    out = tmp_path / "said.jsonl"
    left_out, cut = said(capsys, run, "predict", "--from", file, "--to", str(out))
    assert left_out.startswith("predict: 1 of 4 rows were left out")
    assert cut == "predict: 1 of 3 rows are cut to at most 24 tokens"
    assert len(out.read_text().splitlines()) == 3

    labelled = [{**row, "label": "cat"} for row in asked]
    other = str(write_jsonl(tmp_path / "other.jsonl", labelled))
    for verb, stage in (("validate", "val"), ("test", "test")):
        left_out, cut = said(capsys, run, verb, f"--data.{stage}", other)
        assert left_out.startswith(f"{stage}: 1 of 4 rows were left out")
        assert cut == f"{stage}: 1 of 3 rows are cut to at most 24 tokens"


def test_texts_that_were_trained_on_are_told_while_the_training_rows_are_there(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = [{"text": "under the mat it was", "label": "none"}]
    test = ["--data.test", str(write_jsonl(tmp_path / "test.jsonl", [ROWS[0], *fresh]))]
    other = ["--data.val", str(write_jsonl(tmp_path / "other.jsonl", [ROWS[1], *fresh]))]
    (leak,) = (line for line in said(capsys, run, "test", *test) if "train" in line)
    train = run.path.parents[2] / "train.jsonl"
    assert leak.startswith("1 of the 2 rows of test (50.0%) have a text that train has as well")
    assert f"{train}:1 = {tmp_path}/test.jsonl:1" in leak
    (leak,) = (line for line in said(capsys, run, "validate", *other) if "train" in line)
    assert leak.startswith("1 of the 2 rows of val (50.0%) have a text that train has as well")
    kept = train.rename(tmp_path / "kept.jsonl")
    try:
        (unknown,) = (line for line in said(capsys, run, "test", *test) if "train" in line)
        assert unknown.startswith("test: which of its texts were trained on is not known; the")
        assert "train.jsonl does not exist" in unknown
        assert not any("train" in line for line in said(capsys, run, "validate"))
    finally:
        kept.rename(train)


def test_a_run_without_validation_rows_says_what_it_needs(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(encoder, tmp_path, val_fraction=0.0)
    file = str(write_jsonl(tmp_path / "other.jsonl", ROWS[40:]))
    to = ["--to", str(tmp_path / "said.jsonl")]
    of_run = ["--run", str(run.path)]
    with pytest.raises(ConfigError, match=r"no rows to predict: data\.test and.*: --from FILE\."):
        roots(["predict", *of_run, *to])
    with pytest.raises(ConfigError, match=r"no rows to validate on: .*: --data\.val FILE\."):
        roots(["validate", *of_run])
    assert not list(run.path.glob("validate*.json"))
    said(capsys, run, "predict", "--from", file, *to)  # the cures
    assert len((tmp_path / "said.jsonl").read_text().splitlines()) == 20
    said(capsys, run, "validate", "--data.val", file)
    (kept,) = run.path.glob("validate*.json")
    assert json.loads(kept.read_text())["val/loss"] > 0
