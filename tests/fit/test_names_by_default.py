"""Classes that are named as transformers names them where nobody does, which it does not write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_tasks import classes, task_config, write_jsonl
from transformers import AutoConfig

from roots.cli import run as roots
from roots.fit import compose, load
from roots.runs import read_metrics

NAMES = ("LABEL_0", "LABEL_1")


@pytest.mark.parametrize("kind", ["one", "many"])
def test_a_run_with_the_default_names_is_opened_validated_and_asked(
    encoder: Path, tmp_path: Path, kind: str
) -> None:
    def labelled(row: dict[str, Any]) -> dict[str, Any]:
        name = NAMES[row["label"] == "cat"]
        return {"text": row["text"], "label": name if kind == "one" else [name]}

    rows = [labelled(row) for row in classes(48, 0)]
    data = {
        "train": str(write_jsonl(tmp_path / "train.jsonl", rows[:36])),
        "val": str(write_jsonl(tmp_path / "val.jsonl", rows[36:])),
        "kind": kind,
        "sequences_per_step": 8,
        "seq_len": 48,
    }
    part = {"class_path": "roots.data.LabelledTexts", "init_args": data}
    run = compose(
        task_config("SequenceClassifier", part, encoder, tmp_path / "runs", max_steps=3)
    ).fit()
    folder = run.last().path
    assert "id2label" not in json.loads((folder / "config.json").read_text())
    assert AutoConfig.from_pretrained(folder).id2label == dict(enumerate(NAMES))

    (said,) = load(run.path, "last").predict([rows[0]["text"]])
    assert tuple(said["probabilities"]) == NAMES

    of_run = ["--run", str(run.path), "--checkpoint", "last"]
    assert roots(["validate", *of_run]) == 0
    told = json.loads((run.path / "validate.json").read_text())
    in_fit = float(read_metrics(run.metrics_file)[-1]["val/loss"])
    assert told["val/loss"] == pytest.approx(in_fit, rel=1e-6)

    asked = write_jsonl(tmp_path / "asked.jsonl", [{"text": rows[0]["text"]}])
    out = tmp_path / "said.jsonl"
    assert roots(["predict", *of_run, "--from", str(asked), "--to", str(out)]) == 0
    written = json.loads(out.read_text())
    assert written["probabilities"] == pytest.approx(said["probabilities"], abs=1e-5)
