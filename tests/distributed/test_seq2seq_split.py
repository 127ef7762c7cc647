"""Pairs of ragged lengths: the same steps and measures over micro-batches and ranks."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pairs import pairs_config, write_pairs
from ranks import run_ranks

from roots.fit import compose
from roots.fit.compose import from_run
from roots.fit.predictions import gathered

NAMES = ("train/loss", "optim/grad_norm", "val/loss", "val/nats_per_token", "val/chrf")


def train(
    folder: Path, runs: Path, micro_batch_size: int, strategy: str = "auto"
) -> tuple[list[dict[str, str]], list]:
    told = {"model.micro_batch_size": micro_batch_size, "trainer.strategy": strategy}
    run = compose(pairs_config(folder, runs), told).fit()
    with run.metrics_file.open() as file:
        rows = list(csv.DictReader(file))
    samples = (run.path / "samples.jsonl").read_text().splitlines()
    return rows, [json.loads(line) for line in samples]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = write_pairs(tmp_path_factory.mktemp("pairs"), val=11)  # no multiple of the ranks
    return folder, train(folder, tmp_path_factory.mktemp("alone"), 8)


@pytest.fixture(scope="module")
def learned(alone: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned how long a target is."""
    config = pairs_config(alone[0], tmp_path_factory.mktemp("learned"), callbacks=[])
    steps = {"trainer.max_steps": 500, "trainer.val_every_steps": 0}
    return compose(config, steps).fit().path


def assert_same(found: tuple, expected: tuple) -> None:
    (rows, samples), (own, own_samples) = found, expected
    assert samples == own_samples
    for name in NAMES:
        ours, theirs = (
            torch.tensor([float(row[name]) for row in each if row[name]]) for each in (rows, own)
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("micro_batch_size", [1, 3])
def test_every_micro_batch_size_makes_the_same_steps_and_texts(
    alone: Any, tmp_path: Path, micro_batch_size: int
) -> None:
    folder, expected = alone
    assert_same(train(folder, tmp_path, micro_batch_size), expected)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_ranks_make_the_same_steps_and_texts_as_one(
    alone: Any, tmp_path: Path, strategy: str
) -> None:
    """Of 11 rows in micro-batches of 3, a rank has none of the first 5 in some of them."""
    folder, expected = alone
    first, second = run_ranks(train, folder, tmp_path, 3, strategy)
    assert first == second
    assert_same(first, expected)


def predict(run: str, strategy: str) -> list[dict[str, Any]]:
    """Writes a target for each row with the last checkpoint of a run."""
    predicting = from_run(run, "last", [f"--trainer.strategy={strategy}"])
    return gathered(predicting.trainer, predicting.evaluate("predict"))


def test_two_ranks_that_share_the_weights_write_what_one_does(
    learned: Path, tmp_path: Path
) -> None:
    told = predict(str(learned), "auto")
    assert [row["sample"] for row in told] == list(range(11))
    assert len({len(row["text"]) for row in told}) > 2  # some end long before others
    assert run_ranks(predict, str(learned), "fsdp") == [told, told]
