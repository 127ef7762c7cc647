"""A student makes the same steps on one and two ranks; the teacher is nobody's parameter."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch
from ranks import run_ranks
from tiny_tasks import classes, task_config, write_jsonl

from roots.fit import compose

NAMES = (
    "train/loss",
    "train/hard_loss",
    "train/soft_loss",
    "train/agreement",
    "optim/grad_norm",
    "val/loss",
    "val/soft_loss",
    "val/agreement",
)


def train(config: dict[str, Any], size: int, ranks: int) -> list[dict[str, str]]:
    composed = compose(config, {"model.micro_batch_size": size, "trainer.devices": ranks})
    run = composed.fit()
    if not composed.trainer.is_global_zero:
        return []
    with run.metrics_file.open() as file:
        return list(csv.DictReader(file))


def test_one_and_two_ranks_learn_the_same_of_a_teacher(encoder: Path, tmp_path: Path) -> None:
    rows = classes(71, 3)  # no multiple of anything
    arguments = {
        "train": str(write_jsonl(tmp_path / "train.jsonl", rows[:54])),
        "val": str(write_jsonl(tmp_path / "val.jsonl", rows[54:])),
        "sequences_per_step": 8,
        "seq_len": 48,
    }
    data = {"class_path": "roots.data.LabelledTexts", "init_args": arguments}
    config = task_config("SequenceClassifier", data, encoder, tmp_path / "runs")
    teacher = compose(config, {"trainer.max_steps": 12}).fit()
    config["model"]["init_args"]["distiller"] = {
        "class_path": "roots.modules.Distiller",
        "init_args": {"teacher": str(teacher.path), "temperature": 2.0},
    }
    alone = train(config, 8, 1)
    together, _ = run_ranks(train, config, 3, 2)
    for name in NAMES:
        ours, theirs = (
            torch.tensor([float(row[name]) for row in found if row[name]], dtype=torch.float64)
            for found in (together, alone)
        )
        assert len(ours) > 0, name
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7, msg=name)
