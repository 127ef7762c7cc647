"""Steps of short rows are the same whatever they are split over: micro-batches and ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_ranks
from test_split_invariance import assert_same_gradient, assert_same_steps, rows_of
from tiny import tiny_config

from roots.fit import compose

pytestmark = pytest.mark.heavy

LENGTHENS = {"first_seq_len": 4, "lengthening_steps": 4}  # 4, 4, 8, 8, then 16


def train(shards: Path, runs: Path, micro_batch_size: int) -> dict[str, Any]:
    """Trains six steps and gives what was logged, and the gradient of the fourth, of rows of 8."""
    caught: dict[str, Any] = {}
    config = tiny_config(shards, runs)
    config["data"]["init_args"] |= LENGTHENS
    overrides = {"model.micro_batch_size": micro_batch_size, "model.clip_norm": ".inf"}
    composed = compose(config, overrides)
    sizes: list[int] = []

    def keep(*_: Any) -> None:
        if composed.trainer.global_step == 3:
            for name, parameter in composed.model.trainable.named_parameters():
                caught[name] = parameter.grad.clone().numpy()

    score = composed.model._score
    composed.model._score = lambda part: sizes.append(part.input_ids.numel()) or score(part)
    composed.model.on_before_optimizer_step = keep
    return {"rows": rows_of(composed.fit()), "gradient": caught, "sizes": sizes}


@pytest.fixture(scope="module")
def alone(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return train(shards, tmp_path_factory.mktemp("alone"), 8)


@pytest.mark.parametrize("micro_batch_size", [1, 3, 4])
def test_every_micro_batch_size_makes_the_same_steps_of_as_many_tokens(
    shards: Path, tmp_path: Path, alone: dict[str, Any], micro_batch_size: int
) -> None:
    found = train(shards, tmp_path, micro_batch_size)
    assert_same_steps(found["rows"], alone["rows"])
    assert_same_gradient(found["gradient"], alone["gradient"])
    full, rest = divmod(8, micro_batch_size)
    parts = [micro_batch_size] * full + [rest] * bool(rest)
    assert found["sizes"] == [rows * 16 for rows in parts] * 6


def test_two_ranks_make_the_same_steps_as_one(
    shards: Path, tmp_path: Path, alone: dict[str, Any]
) -> None:
    for found in run_ranks(train, shards, tmp_path, 3):
        assert_same_steps(found["rows"], alone["rows"])
        assert_same_gradient(found["gradient"], alone["gradient"])
    assert any(torch.from_numpy(value).any() for value in alone["gradient"].values())
