"""Teachers that are found not to fit before a run begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from taught import taught
from tiny_tasks import classes, task_config, write_encoder, write_jsonl

from roots.errors import ConfigError
from roots.fit import compose
from roots.modules import Distiller
from roots.modules import distiller as module_under_test
from roots.tokenizer import Tokenizer, fetch_tokenizer


def student(encoder: Path, teacher: Path, folder: Path, **settings: Any) -> Any:
    """A student of values, which has learned of its data."""
    rows = [{**row, "label": len(row["text"]) / 10} for row in classes(36, 0)]
    arguments = {
        "train": str(write_jsonl(folder / "train.jsonl", rows[:-12])),
        "val": str(write_jsonl(folder / "val.jsonl", rows[-12:])),
        "sequences_per_step": 8,
        "seq_len": 48,
        "kind": "value",
    }
    data = {"class_path": "roots.data.LabelledTexts", "init_args": arguments}
    config = task_config("SequenceClassifier", data, encoder, folder / "runs")
    composed = compose(taught(config, teacher, **settings))
    composed.model.learn_of(composed.data)
    return composed.model


def test_values_are_not_softened(encoder: Path, tmp_path: Path) -> None:
    teacher = write_encoder(tmp_path / "teacher", num_labels=1, problem_type="regression")
    model = student(encoder, teacher, tmp_path, temperature=2.0)
    with pytest.raises(ConfigError, match=r"temperature=2 could soften\. Set distiller\.temp"):
        model.distiller.check(model, model.tokenizer)
    model = student(encoder, teacher, tmp_path, temperature=1.0)
    assert model.distiller.check(model, model.tokenizer).num_labels == 1


def test_a_teacher_with_few_positions_is_named(encoder: Path, tmp_path: Path) -> None:
    keys = {"num_labels": 1, "problem_type": "regression"}
    short = write_encoder(tmp_path / "short", max_position_embeddings=32, **keys)
    model = student(encoder, short, tmp_path)
    words = rf"seq_len=48 is longer than the 32 positions that the teacher {short} has\. .*most 32,"
    with pytest.raises(ConfigError, match=words):
        model.distiller.check(model, model.tokenizer)
    longer = write_encoder(tmp_path / "longer", max_position_embeddings=48, **keys)
    model = student(encoder, longer, tmp_path)
    assert model.distiller.check(model, model.tokenizer).max_position_embeddings == 48


def test_a_teachers_tokenizer_is_of_its_revision(
    encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def fetch(path: str, revision: str = "main") -> Tokenizer:
        asked.append((path, revision))
        return fetch_tokenizer(str(encoder))

    monkeypatch.setattr(module_under_test, "fetch_tokenizer", fetch)
    Distiller(teacher="org/name", revision="v2")._check_tokens(Tokenizer.load(encoder))
    assert asked == [("org/name", "v2")]
