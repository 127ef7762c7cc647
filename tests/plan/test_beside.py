"""What lies beside the network: counted by the plan, and real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from held_saves import Rooms
from taught import taught
from tiny import tiny_config

from roots.callbacks import WeightAverage
from roots.fit import compose
from roots.modules import Distiller
from roots.plan import plan_run
from roots.plan.beside import AVERAGE, COPY
from roots.plan.footprint import Planner, Way
from roots.plan.memory import planner_of
from roots.plan.target import target_named

ONE = Way("single_device", 1)
COUNTERS = 8_192
"""More bytes than the steps of a tiny optimizer's parameters, and the generators' states, take."""


def planner_for(composed: Any) -> Planner:
    composed.trainer.settle(composed.data)
    composed.model.learn_of(composed.data)
    return planner_of(composed.trainer, composed.model, composed.data)


def parts_of(config: dict[str, Any], overrides: dict[str, Any]) -> dict[str, int]:
    return planner_for(compose(config, overrides)).footprint(ONE, 2).parts


def average(**arguments: Any) -> dict[str, Any]:
    arguments = {"class_path": "roots.callbacks.WeightAverage", "init_args": arguments}
    return {"trainer.callbacks": [arguments]}


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"model.optimizer": {"class_path": "roots.optim.Muon"}},
        {"trainer.precision": "bf16-true"},
        average(decay=0.9),
        average(decay=0.9, use=False),
    ],
    ids=["adamw", "muon", "masters", "average", "average, not used"],
)
def test_the_copy_that_is_saved_is_as_large_as_planned(
    config: dict[str, Any], overrides: dict[str, Any]
) -> None:
    composed, rooms = compose(config, overrides), Rooms()
    planned = planner_for(composed).footprint(ONE, 2).parts[COPY]
    composed.trainer.callbacks.append(rooms)
    composed.fit()
    assert planned <= rooms.n_bytes <= planned + COUNTERS


@pytest.mark.parametrize(
    "overrides",
    [
        {"trainer.save_in_background": False},
        {"trainer.val_every_steps": 0, "trainer.checkpoint_every_steps": 0},  # only at the end
    ],
)
def test_without_a_save_behind_the_steps_there_is_no_copy(
    config: dict[str, Any], overrides: dict[str, Any]
) -> None:
    assert COPY not in parts_of(config, overrides)


def test_on_a_gpu_the_copy_takes_nothing_of_the_device(config: dict[str, Any]) -> None:
    planner = planner_for(compose(config))
    planner.target = target_named("NVIDIA H100 80GB HBM3", 1, 1)
    assert COPY not in planner.footprint(ONE, 2).parts
    assert planner.host_copy(ONE) > 0


def test_shards_are_copied_where_they_lie(config: dict[str, Any]) -> None:
    """The whole weights are copied as well, for the folder to use."""
    planner = planner_for(compose(config))
    held, part = planner.held(1), planner.held(2)
    weights = held.parameters - held.buffers
    sharded = planner.host_copy(Way("fsdp", 2, 2, sharded_checkpoints=True))
    assert sharded == weights + part.parameters - part.buffers + part.state
    assert planner.host_copy(Way("fsdp", 2, 2)) == 2 * weights + held.state


@pytest.mark.parametrize(("precision", "adapted"), [("bf16-true", False), ("32", True)])
def test_an_average_of_what_is_trained_is_kept_in_float32(
    config: dict[str, Any], tmp_path: Path, precision: str, adapted: bool
) -> None:
    if adapted:
        compose(config, {"trainer.max_steps": 3}).fit()
        path = next(tmp_path.rglob("step-000003"))
        adapter = {"class_path": "roots.networks.LoRA", "init_args": {"rank": 2}}
        config["model"]["init_args"]["network"] = {
            "class_path": "roots.networks.Pretrained",
            "init_args": {"path": str(path), "adapter": adapter},
        }
    composed = compose(config, {**average(decay=0.9), "trainer.precision": precision})
    planned = planner_for(composed).footprint(ONE, 2).parts[AVERAGE]
    composed.fit()
    kept = next(c for c in composed.trainer.callbacks if isinstance(c, WeightAverage))
    assert planned == sum(t.nbytes for t in kept._average.values())


def test_a_teacher_lies_beside_its_student(shards: Path, tmp_path: Path) -> None:
    teacher = compose(tiny_config(shards, tmp_path, max_steps=3)).fit().path
    composed = compose(taught(tiny_config(shards, tmp_path), teacher))
    planned = planner_for(composed).footprint(ONE, 2).parts[Distiller.name]
    network = planner_for(composed).empty()  # the student's, which is as large
    real = [*network.parameters(), *network.buffers()]
    assert planned == sum(t.numel() * t.dtype.itemsize for t in real)


def test_the_hours_with_a_teacher_have_its_forward_passes(shards: Path, tmp_path: Path) -> None:
    """One as large as its student reads for a third of what the student learns for."""
    teacher = compose(tiny_config(shards, tmp_path, max_steps=3)).fit().path
    config = tiny_config(shards, tmp_path, max_steps=400)
    target = target_named("NVIDIA H100 80GB HBM3", 1, 1)

    def told(config: dict[str, Any]) -> dict[str, str]:
        composed = compose(config)
        plan = plan_run(composed.trainer, composed.model, composed.data, target=target)
        return dict(plan.lines)

    alone, with_teacher = told(config), told(taught(config, teacher))
    total = float(alone["FLOPs"].split(" GFLOP in all")[0].split(", ")[-1])
    assert with_teacher["FLOPs"] == f"{alone['FLOPs']}, and {total / 3:.3g} GFLOP of the teacher"
    speeds = [float(each["speed"].split()[0].replace(",", "")) for each in (alone, with_teacher)]
    assert speeds[1] == pytest.approx(speeds[0] * 3 / 4, rel=1e-6)
