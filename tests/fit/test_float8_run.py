"""Runs with 8-bit products: any split, resume, the plan."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from ranks import run_ranks
from test_resume import STEPS, interrupted, long_config, numbers, rows_of
from tiny import tiny_config

from roots.errors import ConfigError
from roots.fit import compose
from roots.fit.compose import resumed
from roots.plan import plan_run

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torchao") is None,
    reason="needs the package torchao: make test-fp8",
)

SHORT = {"trainer.max_steps": 4, "trainer.val_every_steps": 0, "trainer.precision": "fp8-mixed"}


def losses(shards: Path, folder: Path, **overrides: Any) -> tuple[float, float, str]:
    composed = compose(tiny_config(shards, folder), {**SHORT, **overrides})
    run = composed.fit()
    last = composed.model.last_step
    return float(last.loss), float(last.grad_norm), str(run.path)


def sharded_and_copied(shards: Path, folder: Path) -> list[tuple[float, float, str]]:
    return [losses(shards, folder / name, **{"trainer.strategy": name}) for name in ("ddp", "fsdp")]


def test_every_micro_batch_size_and_two_ranks_make_the_same_steps(
    shards: Path, tmp_path: Path
) -> None:
    one = [
        losses(shards, tmp_path / f"{size}", **{"model.micro_batch_size": size})
        for size in (1, 4, 8)
    ]
    for other in one[1:]:
        assert other[:2] == pytest.approx(one[0][:2], rel=2e-3)
    first, second = run_ranks(sharded_and_copied, shards, tmp_path, timeout=200)
    assert [f[:2] for f in first] == [s[:2] for s in second]
    for other in first:
        assert other[:2] == pytest.approx(one[0][:2], rel=5e-3)


def test_it_resumes_bitwise_and_its_checkpoint_goes_on_in_any_precision(
    shards: Path, tmp_path: Path
) -> None:
    def eight_bit(folder: Path) -> dict[str, Any]:
        config = long_config(shards, folder)
        config["trainer"]["precision"] = "fp8-mixed"
        return config

    undisturbed = numbers(rows_of(compose(eight_bit(tmp_path / "whole")).fit()))
    run = interrupted(eight_bit(tmp_path / "cut"), 8)
    resumed(str(run.path), {}, [])[0].fit()
    assert numbers(rows_of(run)) == undisturbed
    flags = ["--trainer.precision=32", f"--trainer.max_steps={STEPS + 2}"]
    resumed(str(run.path), {}, flags)[0].fit()
    before, after = (float(rows_of(run)[n]["train/loss"]) for n in (STEPS - 1, STEPS + 1))
    assert after == pytest.approx(before, rel=0.05)


def test_the_plan_knows_it(shards: Path, tmp_path: Path) -> None:
    composed = compose(tiny_config(shards, tmp_path), SHORT)
    plan = plan_run(composed.trainer, composed.model, composed.data, memory=True)
    lines = dict(plan.lines)
    assert any("8-bit products in the blocks" in words for words in lines.values())
    assert "activations" in lines["memory"]


def test_layers_that_ranks_share_are_refused(shards: Path, tmp_path: Path) -> None:
    overrides = {**SHORT, "trainer.strategy": "tensor_parallel"}
    run_ranks(refused, shards, tmp_path, overrides)


def refused(shards: Path, folder: Path, overrides: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"fp8-mixed is not tested with layers that ranks share"):
        compose(tiny_config(shards, folder), overrides)
