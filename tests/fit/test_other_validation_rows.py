"""A run that goes on validates on the rows of before, or says that it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_tasks import classes, task_config, write_jsonl

import roots
from roots.errors import CheckpointError
from roots.fit import compose

pytestmark = pytest.mark.heavy


def test_other_validation_rows_are_refused_unless_asked_for_and_then_told(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    val = write_jsonl(tmp_path / "val.jsonl", classes(12, 2))
    arguments = {
        "train": str(write_jsonl(tmp_path / "train.jsonl", classes(40, 1))),
        "val": str(val),
        "sequences_per_step": 8,
    }
    part = {"class_path": "roots.data.LabelledTexts", "init_args": arguments}
    config = task_config("SequenceClassifier", part, encoder, tmp_path / "runs", max_steps=3)
    run = compose(config).fit()
    best = run.best()
    old = val.read_text()

    write_jsonl(val, classes(12, 5))
    more = {"trainer.max_steps": 4}
    with pytest.raises(CheckpointError, match=r"validates on are no longer .*--data\.val FILE\."):
        roots.resume(run.path, more)
    other = str(val.rename(tmp_path / "other.jsonl"))
    asked = roots.resume(run.path, {**more, "data.val": other})
    told = capsys.readouterr().err
    assert "changed at resume: data.init_args.val: " in told
    assert f"the best so far (val/loss {best.metrics['val/loss']:.6g} at step 3) was" in told
    asked.fit()

    capsys.readouterr()
    roots.resume(run.path, {"trainer.max_steps": 5})  # the rows of before are the other ones now
    assert capsys.readouterr().err == "changed at resume: trainer.max_steps: 4 → 5\n"
    val.write_text(old)
    roots.resume(run.path, {"trainer.max_steps": 5, "data.val": str(val)})
    assert "other rows to validate on" in capsys.readouterr().err


def test_the_same_rows_in_another_file_are_no_others(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    val = write_jsonl(tmp_path / "val.jsonl", classes(12, 2))
    train = str(write_jsonl(tmp_path / "train.jsonl", classes(40, 1)))
    arguments = {"train": train, "val": str(val), "sequences_per_step": 8}
    part = {"class_path": "roots.data.LabelledTexts", "init_args": arguments}
    config = task_config("SequenceClassifier", part, encoder, tmp_path / "runs", max_steps=3)
    run = compose(config).fit()
    moved = val.rename(tmp_path / "moved.jsonl")
    roots.resume(run.path, {"data.val": str(moved)})
    assert "validate on" not in capsys.readouterr().err


def test_rows_that_were_asked_for_once_need_not_be_where_that_fit_wrote_no_checkpoint(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = str(write_jsonl(tmp_path / "train.jsonl", classes(40, 1)))
    arguments = {
        "train": train,
        "val": str(write_jsonl(tmp_path / "val.jsonl", classes(12, 2))),
        "sequences_per_step": 8,
    }
    part = {"class_path": "roots.data.LabelledTexts", "init_args": arguments}
    config = task_config("SequenceClassifier", part, encoder, tmp_path / "runs", max_steps=3)
    run = compose(config).fit()
    other = str(write_jsonl(tmp_path / "other.jsonl", classes(12, 5)))
    killed = roots.resume(run.path, {"trainer.max_steps": 5, "data.val": other})

    class Killed(Exception):
        pass

    def kill(*_: object) -> None:
        raise Killed

    killed.model.on_train_batch_start = kill
    with pytest.raises(Killed):
        killed.fit()
    capsys.readouterr()
    again = roots.resume(run.path)
    assert "other rows to validate on" in capsys.readouterr().err
    assert again.fit().last().step == 5
