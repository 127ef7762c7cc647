"""The same step of hidden tokens whatever it is split over: micro-batches, ranks, ragged rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_ranks
from test_split_invariance import assert_same_gradient, rows_of, series
from tiny_masked import masked_config

from roots.fit import compose

ROWS = ("windows", "documents", "packed")


def composed_of(shards: Path, runs: Path, rows: str, micro_batch_size: int, **more: Any) -> Any:
    config = masked_config(shards, runs, "bert", rows)
    return compose(config, {"model.micro_batch_size": micro_batch_size, **more})


def train(shards: Path, runs: Path, rows: str, micro_batch_size: int) -> list[dict[str, str]]:
    return rows_of(composed_of(shards, runs, rows, micro_batch_size).fit())


def gradient(shards: Path, runs: Path, rows: str, micro_batch_size: int) -> dict[str, Any]:
    """Trains one step and gives the gradient that the optimizer was handed, unclipped."""
    caught: dict[str, Any] = {}
    one_step = {
        "model.clip_norm": ".inf",
        "model.schedule.warmup_steps": 0,
        "trainer.max_steps": 1,
    }
    composed = composed_of(shards, runs, rows, micro_batch_size, **one_step)

    def keep(*_: Any) -> None:
        for name, parameter in composed.model.trainable.named_parameters():
            caught[name] = parameter.grad.clone().numpy()

    composed.model.on_before_optimizer_step = keep
    composed.fit()
    return caught


@pytest.fixture(scope="module", params=ROWS)
def alone(request: Any, masked_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    runs = tmp_path_factory.mktemp("alone")
    return {
        "of": request.param,
        "rows": train(masked_shards, runs, request.param, 8),
        "gradient": gradient(masked_shards, runs, request.param, 8),
    }


def assert_same_steps(rows: list[dict[str, str]], expected: list[dict[str, str]]) -> None:
    assert len(rows) == len(expected) == 6
    for name in ("train/loss", "optim/grad_norm", "val/loss", "val/accuracy"):
        torch.testing.assert_close(series(rows, name), series(expected, name), rtol=1e-5, atol=0)


@pytest.mark.parametrize("micro_batch_size", [1, 3])
def test_every_micro_batch_size_makes_the_same_gradient(
    masked_shards: Path, tmp_path: Path, alone: Any, micro_batch_size: int
) -> None:
    found = gradient(masked_shards, tmp_path, alone["of"], micro_batch_size)
    assert_same_gradient(found, alone["gradient"])


def test_two_ranks_make_the_same_gradient_as_one(
    masked_shards: Path, tmp_path: Path, alone: Any
) -> None:
    for found in run_ranks(gradient, masked_shards, tmp_path, alone["of"], 3):
        assert_same_gradient(found, alone["gradient"])


def test_two_ranks_make_the_same_six_steps_as_one(
    masked_shards: Path, tmp_path: Path, alone: Any
) -> None:
    for found in run_ranks(train, masked_shards, tmp_path, alone["of"], 3):
        assert_same_steps(found, alone["rows"])
