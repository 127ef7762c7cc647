"""A fine-tuning step is the same on one and two ranks, and all ranks' predictions are told."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch
from ranks import run_ranks
from tiny_tasks import classes, task_config, write_jsonl

from roots.fit import compose
from roots.fit.predictions import gathered
from roots.runs import Run

NAMES = ("train/loss", "optim/grad_norm", "val/loss", "val/accuracy", "val/mcc")
COUNTS = ("train/tokens_seen", "train/padding_fraction")


def config_of(encoder: Path, folder: Path) -> dict[str, Any]:
    rows = classes(71, 3)  # no multiple of anything
    arguments = {
        "train": str(write_jsonl(folder / "train.jsonl", rows[:54])),
        "val": str(write_jsonl(folder / "val.jsonl", rows[54:])),
        "sequences_per_step": 8,
        "seq_len": 48,
    }
    data = {"class_path": "roots.data.LabelledTexts", "init_args": arguments}
    return task_config("SequenceClassifier", data, encoder, folder / "runs")


def rows_of(run: Run) -> list[dict[str, str]]:
    with run.metrics_file.open() as file:
        return list(csv.DictReader(file))


def train(config: dict[str, Any], size: int, ranks: int) -> tuple[list[dict[str, str]], list[Any]]:
    composed = compose(config, {"model.micro_batch_size": size, "trainer.devices": ranks})
    run = composed.fit()
    told = gathered(composed.trainer, composed.evaluate("predict"))
    return (rows_of(run) if composed.trainer.is_global_zero else []), told


def series(rows: list[dict[str, str]], name: str) -> torch.Tensor:
    return torch.tensor([float(row[name]) for row in rows if row[name]], dtype=torch.float64)


def test_one_and_two_ranks_make_the_same_steps_and_say_the_same(
    encoder: Path, tmp_path: Path
) -> None:
    config = config_of(encoder, tmp_path)
    alone, said_alone = train(config, 8, 1)
    (together, said), (_, said_by_other) = run_ranks(train, config, 2, 2)
    for name in NAMES:
        ours, theirs = series(together, name), series(alone, name)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7, msg=name)
    assert series(together, COUNTS[0]).tolist() == series(alone, COUNTS[0]).tolist()
    assert [row["sample"] for row in said] == list(range(17))
    assert said == said_by_other
    for ours, theirs in zip(said, said_alone, strict=True):
        assert ours["label"] == theirs["label"]
