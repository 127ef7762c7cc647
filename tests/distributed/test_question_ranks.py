"""Questions whose windows are on different ranks, in different micro-batches."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from quizzes import quiz_config, quiz_files
from ranks import run_ranks

from roots.fit import compose

pytestmark = pytest.mark.heavy

EQUAL = ("val/exact_match", "val/f1", "val/f1/HasAns", "val/f1/NoAns")
CLOSE = ("train/loss", "optim/grad_norm", "val/loss")


def train(folder: Path, runs: Path, micro_batch_size: int) -> dict[str, Any]:
    """Trains six steps; gives the figures, the first step's gradient, and all answers."""
    gradient: dict[str, Any] = {}
    overrides = {"model.micro_batch_size": micro_batch_size, "model.clip_norm": ".inf"}
    composed = compose(quiz_config(folder, runs), overrides)

    def keep(*_: Any) -> None:
        if not gradient:
            named = composed.model.trainable.named_parameters()
            gradient.update((name, p.grad.clone().numpy()) for name, p in named)

    composed.model.on_before_optimizer_step = keep
    run = composed.fit()
    with run.metrics_file.open() as file:
        rows = list(csv.DictReader(file))
    names = (*EQUAL, *CLOSE, "val/no_answer_threshold")
    figures = {name: [float(row[name]) for row in rows if row[name]] for name in names}
    answers = [row for batch in composed.evaluate("predict") for row in batch]
    return {"figures": figures, "gradient": gradient, "answers": json.dumps(answers)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quiz_files(tmp_path_factory.mktemp("quiz"))


@pytest.fixture(scope="module")
def alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return train(folder, tmp_path_factory.mktemp("alone"), 4)


def assert_same(made: dict[str, Any], expected: dict[str, Any]) -> None:
    mine, its = made["figures"], expected["figures"]
    assert [len(mine[name]) for name in CLOSE] == [6, 6, 2]
    for name in CLOSE:
        assert mine[name] == pytest.approx(its[name], rel=1e-5)
    for name in EQUAL:
        assert mine[name] == pytest.approx(its[name], rel=1e-12)
    assert mine["val/no_answer_threshold"] == pytest.approx(
        its["val/no_answer_threshold"], abs=1e-4
    )
    for name, gradient in expected["gradient"].items():
        torch.testing.assert_close(
            torch.from_numpy(made["gradient"][name]),
            torch.from_numpy(gradient),
            rtol=1e-5,
            atol=1e-6,
        )
    for mine, its in zip(*(json.loads(one["answers"]) for one in (made, expected)), strict=True):
        assert (mine["id"], mine["answer"]) == (its["id"], its["answer"])
        assert mine["no_answer"] == pytest.approx(its["no_answer"], abs=1e-4)


@pytest.mark.parametrize("micro_batch_size", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_every_micro_batch_size_makes_the_same_steps_and_answers(
    folder: Path, tmp_path: Path, alone: dict[str, Any], micro_batch_size: int
) -> None:
    assert_same(train(folder, tmp_path, micro_batch_size), alone)


def test_two_ranks_make_the_same_steps_and_answers_as_one(
    folder: Path, tmp_path: Path, alone: dict[str, Any]
) -> None:
    first, second = run_ranks(train, folder, tmp_path, 2)
    assert second["answers"] == "[]"  # the first has all windows of all questions
    assert_same(first, alone)
    assert first["figures"] == second["figures"]
