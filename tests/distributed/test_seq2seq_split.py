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

NAMES = ("train/loss", "optim/grad_norm", "val/loss", "val/nats_per_token", "val/chrf")


def train(folder: Path, runs: Path, micro_batch_size: int) -> tuple[list[dict[str, str]], list]:
    run = compose(pairs_config(folder, runs), {"model.micro_batch_size": micro_batch_size}).fit()
    with run.metrics_file.open() as file:
        rows = list(csv.DictReader(file))
    samples = (run.path / "samples.jsonl").read_text().splitlines()
    return rows, [json.loads(line) for line in samples]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = write_pairs(tmp_path_factory.mktemp("pairs"), val=11)  # no multiple of the ranks
    return folder, train(folder, tmp_path_factory.mktemp("alone"), 8)


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


def test_two_ranks_make_the_same_steps_and_texts_as_one(alone: Any, tmp_path: Path) -> None:
    folder, expected = alone
    first, second = run_ranks(train, folder, tmp_path, 3)
    assert first == second
    assert_same(first, expected)
