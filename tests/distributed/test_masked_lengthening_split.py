"""Steps of short masked rows are the same whatever they are split over: micro-batches and ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_ranks
from test_masked_split_invariance import assert_same_steps
from test_split_invariance import assert_same_gradient, rows_of
from tiny_masked import masked_config

from roots.fit import compose

pytestmark = pytest.mark.heavy

LENGTHENS = {"first_seq_len": 4, "lengthening_steps": 4}  # in 4, 4, 2, 2 pieces, then whole


def train(shards: Path, runs: Path, kind: str, micro_batch_size: int) -> dict[str, Any]:
    """Trains six steps and gives what was logged, and the gradient of the fourth, of two pieces."""
    caught: dict[str, Any] = {}
    config = masked_config(shards, runs, rows=kind)
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


@pytest.fixture(scope="module", params=["windows", "packed"])
def alone(request: Any, masked_shards: Path, tmp_path_factory: Any) -> dict[str, Any]:
    found = train(masked_shards, tmp_path_factory.mktemp("alone"), request.param, 8)
    return {"of": request.param, **found}


@pytest.mark.parametrize("micro_batch_size", [1, 3])
def test_every_micro_batch_size_makes_the_same_steps_of_whole_sequences(
    masked_shards: Path, tmp_path: Path, alone: dict[str, Any], micro_batch_size: int
) -> None:
    found = train(masked_shards, tmp_path, alone["of"], micro_batch_size)
    assert_same_steps(found["rows"], alone["rows"])
    assert_same_gradient(found["gradient"], alone["gradient"])
    full, rest = divmod(8, micro_batch_size)
    parts = [micro_batch_size] * full + [rest] * bool(rest)
    read = [4 * 6, 4 * 6, 2 * 9, 2 * 9, 16, 16]
    assert found["sizes"] == [rows * tokens for tokens in read for rows in parts]


def test_two_ranks_make_the_same_steps_as_one(
    masked_shards: Path, tmp_path: Path, alone: dict[str, Any]
) -> None:
    for found in run_ranks(train, masked_shards, tmp_path, alone["of"], 3):
        assert_same_steps(found["rows"], alone["rows"])
        assert_same_gradient(found["gradient"], alone["gradient"])
    assert any(torch.from_numpy(value).any() for value in alone["gradient"].values())
