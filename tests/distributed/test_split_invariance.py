"""The same step whatever it is split over: micro-batches and ranks."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_ranks
from tiny import tiny_config

from roots.fit import compose
from roots.runs import Run

MICRO_BATCHES = (1, 2, 3, 4, 8)


def rows_of(run: Run) -> list[dict[str, str]]:
    with run.metrics_file.open() as file:
        return list(csv.DictReader(file))


def series(rows: list[dict[str, str]], name: str) -> torch.Tensor:
    return torch.tensor([float(row[name]) for row in rows if row[name]], dtype=torch.float64)


def train(shards: Path, runs: Path, micro_batch_size: int) -> list[dict[str, str]]:
    composed = compose(tiny_config(shards, runs), {"model.micro_batch_size": micro_batch_size})
    return rows_of(composed.fit())


def gradient_of_first_step(shards: Path, runs: Path, micro_batch_size: int) -> dict[str, Any]:
    """Trains one step and gives the gradient that the optimizer was handed, unclipped."""
    caught: dict[str, Any] = {}
    overrides = {
        "model.micro_batch_size": micro_batch_size,
        "model.clip_norm": ".inf",
        "model.schedule.warmup_steps": 0,
        "trainer.max_steps": 1,
    }
    composed = compose(tiny_config(shards, runs), overrides)

    def keep(*_: Any) -> None:
        for name, parameter in composed.model.trainable.named_parameters():
            caught[name] = parameter.grad.clone().numpy()

    composed.model.on_before_optimizer_step = keep
    composed.fit()
    return caught


@pytest.fixture(scope="module")
def alone(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    runs = tmp_path_factory.mktemp("alone")
    return {
        "rows": train(shards, runs, 8),
        "gradient": gradient_of_first_step(shards, runs, 8),
    }


def assert_same_steps(rows: list[dict[str, str]], expected: list[dict[str, str]]) -> None:
    assert len(rows) == len(expected) == 6
    for name in ("train/loss", "optim/grad_norm", "val/loss", "val/bits_per_byte"):
        torch.testing.assert_close(series(rows, name), series(expected, name), rtol=1e-5, atol=0)


def assert_same_gradient(gradient: dict[str, Any], expected: dict[str, Any]) -> None:
    assert gradient.keys() == expected.keys()
    for name, value in gradient.items():
        torch.testing.assert_close(
            torch.from_numpy(value), torch.from_numpy(expected[name]), rtol=1e-5, atol=1e-6
        )


def test_documents_end_inside_the_sequences_so_that_labels_are_ragged(
    shards: Path, tmp_path: Path
) -> None:
    composed = compose(tiny_config(shards, tmp_path))
    composed.data.trainer = composed.trainer
    batch = next(iter(composed.data.train_dataloader()))
    assert len({int((row != -100).sum()) for row in batch.labels}) > 1


@pytest.mark.parametrize("micro_batch_size", MICRO_BATCHES)
def test_every_micro_batch_size_makes_the_same_gradient(
    shards: Path, tmp_path: Path, alone: dict[str, Any], micro_batch_size: int
) -> None:
    gradient = gradient_of_first_step(shards, tmp_path, micro_batch_size)
    assert_same_gradient(gradient, alone["gradient"])


@pytest.mark.parametrize("micro_batch_size", [1, 3])
def test_every_micro_batch_size_makes_the_same_six_steps(
    shards: Path, tmp_path: Path, alone: dict[str, Any], micro_batch_size: int
) -> None:
    assert_same_steps(train(shards, tmp_path, micro_batch_size), alone["rows"])


@pytest.mark.parametrize("micro_batch_size", [1, 3, 4])
def test_two_ranks_make_the_same_six_steps_as_one(
    shards: Path, tmp_path: Path, alone: dict[str, Any], micro_batch_size: int
) -> None:
    first, second = run_ranks(train, shards, tmp_path, micro_batch_size)
    assert first == second  # both read the file that the first rank wrote
    assert_same_steps(first, alone["rows"])


def test_two_ranks_make_the_same_gradient_as_one(
    shards: Path, tmp_path: Path, alone: dict[str, Any]
) -> None:
    for gradient in run_ranks(gradient_of_first_step, shards, tmp_path, 2):
        assert_same_gradient(gradient, alone["gradient"])


def test_ranks_that_do_not_divide_the_sequences_are_refused_with_the_nearest_that_work(
    shards: Path, tmp_path: Path
) -> None:
    with pytest.raises(AssertionError, match=r"sequences_per_step=8 .* 3 ranks.* to 6 or 9"):
        run_ranks(train, shards, tmp_path, 4, ranks=3)
