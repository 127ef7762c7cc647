"""`micro_batch_size: auto`: planned, tried, agreed on by all ranks, and written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from ranks import run_ranks
from tiny import tiny_config

from roots.errors import ConfigError
from roots.fit import compose
from roots.fit.compose import resumed
from roots.fit.micro_batch_size import MicroBatchSize, fits_on_device, most_rows
from roots.plan import rows as plan_rows
from roots.plan import target as plan_target

AUTO = {"model.micro_batch_size": "auto", "trainer.max_steps": 3, "trainer.val_every_steps": 0}


def rows_written(run: Any) -> Any:
    config = yaml.safe_load(run.config_file.read_text())
    return config["model"]["init_args"]["micro_batch_size"]


def test_all_of_a_step_is_taken_where_memory_is_plenty_and_written_down(
    config: dict[str, Any],
) -> None:
    composed = compose(config, AUTO)
    assert composed.model.settings["micro_batch_size"] == "auto"
    run = composed.fit()
    assert rows_written(run) == composed.model.micro_batch_size == 8
    assert any("micro_batch_size: 8, planned: " in said for said in composed.model.remarks)


def test_less_is_taken_where_memory_is_scarce_and_a_resumed_run_keeps_it(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_target, "free_bytes", lambda: 900_000)
    run = compose(config, AUTO).fit()
    rows = rows_written(run)
    assert rows in (1, 2, 4)
    monkeypatch.setattr(plan_target, "free_bytes", lambda: 2**40)
    again, changes = resumed(str(run.path), {}, ["--trainer.max_steps=5"])
    assert again.model.micro_batch_size == rows
    assert not any("micro_batch_size" in change for change in changes)
    again.fit()
    assert rows_written(run) == rows


def test_the_steps_are_those_of_a_given_size(config: dict[str, Any]) -> None:
    """How many rows fit decides memory and speed, not numbers: dropout is off."""
    losses = []
    for size in ("auto", 8):
        composed = compose(config, {**AUTO, "model.micro_batch_size": size})
        composed.fit()
        losses.append(float(composed.model.last_step.loss))
    assert losses[0] == losses[1]


def built(config: dict[str, Any]) -> Any:
    composed = compose(config, AUTO)
    composed.fit()
    return composed


def test_a_size_that_runs_out_of_memory_is_halved_and_leaves_no_trace(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = built(config)
    trainer, model = composed.trainer, composed.model
    forward, tried = model.trainable.forward, []

    def scarce(batch: Any) -> Any:
        tried.append(len(batch))
        score = forward(batch)
        if len(batch) > 3:
            raise torch.OutOfMemoryError("injected")
        return score

    monkeypatch.setattr(model.trainable, "forward", scarce)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state, random = trainer.optimizers[0].state_dict(), torch.get_rng_state()

    def fits(rows: int) -> bool:
        return fits_on_device(trainer, model, rows, reserve=1000)

    assert most_rows(8, fits, lambda mine: mine) == 2
    assert tried == [8, 4, 2]
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(weights[n], t) for n, t in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    after = trainer.optimizers[0].state_dict()
    assert after["param_groups"] == state["param_groups"]
    for number, own in state["state"].items():
        assert all(torch.equal(own[k], after["state"][number][k]) for k in own)


def test_room_for_the_optimizer_is_kept_free(config: dict[str, Any]) -> None:
    composed = built(config)

    def refuses(size: int, **_: Any) -> Any:
        raise torch.OutOfMemoryError(f"injected: {size}")

    original, torch.empty = torch.empty, refuses
    try:
        assert not fits_on_device(composed.trainer, composed.model, 1, reserve=2**60)
    finally:
        torch.empty = original
    assert fits_on_device(composed.trainer, composed.model, 1, reserve=8)


def test_a_row_that_does_not_fit_is_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"a single row .*data.seq_len lower"):
        most_rows(8, lambda rows: False, lambda mine: mine)
    assert most_rows(8, lambda rows: rows < 2, lambda mine: mine) == 1


@pytest.mark.parametrize("size", ["many", 0, -3])
def test_what_is_no_size_is_refused(config: dict[str, Any], size: Any) -> None:
    with pytest.raises(ConfigError, match=rf"micro_batch_size={size} is no number .*or to auto"):
        compose(config, {"model.micro_batch_size": size})
    assert compose(config, {"model.micro_batch_size": "auto"}).model.seeks_rows


def two_ranks(shards: Path, folder: Path) -> tuple[int, Any, float, int]:
    """The second rank has memory for a row or two, by the plan; then it runs out at two."""
    import torch.distributed as dist

    composed = compose(tiny_config(shards, folder), AUTO)
    planned = plan_rows.planned_rows

    def limited(planner: Any, way: Any) -> tuple[int, str]:
        rows, why = planned(planner, way)
        return (min(rows, 2), why) if dist.get_rank() else (rows, why)

    from roots.fit import micro_batch_size as subject

    subject.planned_rows = limited
    run = composed.fit()
    taken, loss = composed.model.micro_batch_size, float(composed.model.last_step.loss)

    def fits(rows: int) -> bool:
        return rows < 2 if dist.get_rank() else rows < 9

    dist.init_process_group("gloo") if not dist.is_initialized() else None
    tried = most_rows(4, fits, composed.trainer.strategy.smallest)
    return taken, rows_written(run), loss, tried


def test_two_ranks_take_the_smaller_size(shards: Path, tmp_path: Path) -> None:
    first, second = run_ranks(two_ranks, shards, tmp_path)
    assert first == second
    taken, written, loss, tried = first
    assert (taken, written, tried) == (2, 2, 1)
    alone = compose(tiny_config(shards, tmp_path / "alone"), {**AUTO, "model.micro_batch_size": 8})
    alone.fit()
    assert loss == pytest.approx(float(alone.model.last_step.loss), rel=1e-5)


def test_a_run_with_a_given_size_is_left_alone(config: dict[str, Any]) -> None:
    composed = compose(config)
    callback = MicroBatchSize()
    callback.setup(composed.trainer, composed.model, "fit")
    callback.on_fit_start(composed.trainer, composed.model)
    assert composed.model.micro_batch_size == 4
