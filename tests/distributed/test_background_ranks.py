"""Saves behind the steps of two ranks: the same files, one failure that all learn of, no hang."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from held_saves import FullDisk, Held, Joins, Rooms, before_writing
from ranks import run_ranks
from safetensors.torch import load_file
from tiny import tiny_config

from roots.callbacks.background import Flight
from roots.callbacks.stop_signals import Interrupted
from roots.errors import CheckpointError, TrainingError
from roots.fit import compose
from roots.fit.compose import resumed
from roots.plan.memory import planner_of, way_of
from roots.runs import Run
from roots.strategies.sharded_files import read_whole

SHARDS = {"class_path": "roots.strategies.FSDP", "init_args": {"sharded_checkpoints": True}}
STRATEGIES = {"ddp": "ddp", "fsdp": "fsdp", "shards": SHARDS}


class SlowOnOne:
    """Lets the second rank write much later than the first."""

    def __init__(self, held: Held) -> None:
        self.held = held

    def __call__(self, flight: Flight) -> None:
        self.held(flight)
        if not flight.saving.trainer.is_global_zero:
            time.sleep(0.3)


class Signalled(L.Callback):
    """Sends this process SIGTERM in a step, counted from 1."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_before_optimizer_step(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step - 1 and not trainer.is_global_zero:
            os.kill(os.getpid(), signal.SIGTERM)


def a_run(shards: Path, runs: Path, strategy: Any, **trainer: Any) -> Any:
    settings = {"max_steps": 7, "keep_best": 3, "strategy": strategy, **trainer}
    return compose(tiny_config(shards, runs, **settings))


def saved(shards: Path, runs: Path, strategy: Any) -> tuple[int, int]:
    """Trains with saves behind the steps, held until later ones, and again within them.

    Returns:
        Bytes of the copies on the first rank, as planned and as they were on this one.
    """
    composed, held = a_run(shards, runs / "behind", strategy), Held({3: 5})
    composed.trainer.settle(composed.data)
    composed.model.learn_of(composed.data)
    planner = planner_of(composed.trainer, composed.model, composed.data)
    planned, rooms = planner.host_copy(way_of(composed.trainer.strategy, planner.target)), Rooms()
    composed.trainer.callbacks[:0] = [held, rooms]
    with before_writing(SlowOnOne(held)):
        composed.fit()
    assert composed.trainer.checkpoints._host.n_bytes == 0
    a_run(shards, runs / "within", strategy, save_in_background=False).fit()
    return planned, rooms.n_bytes


def failed(shards: Path, runs: Path, strategy: Any, victim: int) -> tuple[str, int]:
    """Fills the disk of one rank while the checkpoint of step 3 is written."""
    composed, full = a_run(shards, runs / "full", strategy), FullDisk((3,), 2_000)
    composed.trainer.callbacks.insert(0, Joins(3))
    mine = int(os.environ["RANK"]) == victim
    watched = (full, full.over) if mine else (lambda flight: None,)
    with before_writing(*watched), pytest.raises(TrainingError) as ended:
        composed.fit()
    return str(ended.value), composed.trainer.global_step


def mistaken(shards: Path, runs: Path) -> tuple[str, int]:
    """Breaks the program of the first rank while it writes, in a run that goes on without disk."""
    composed = a_run(shards, runs / "mistaken", "ddp", on_failed_save="go_on")
    composed.trainer.callbacks.insert(0, Joins(3))

    def breaks(_: Flight) -> None:
        raise ZeroDivisionError("a mistake of the program")

    mine = os.environ["RANK"] == "0"
    with (
        before_writing(breaks if mine else lambda flight: None),
        pytest.raises(ZeroDivisionError if mine else TrainingError) as ended,
    ):
        composed.fit()
    return str(ended.value), composed.trainer.global_step


def interrupted(shards: Path, runs: Path, strategy: Any) -> list[str]:
    """Stops by a signal while the checkpoint of step 3 is written, and goes on."""
    composed = a_run(shards, runs / "stopped", strategy)
    composed.trainer.callbacks.insert(0, Signalled(4))
    with before_writing(lambda flight: time.sleep(0.5)), pytest.raises(Interrupted):
        composed.fit()
    run = composed.trainer.run
    names = sorted(path.name for path in run.checkpoints_folder.iterdir())
    assert resumed(str(run.path), {}, [])[0].fit().last().step == 7
    return names


def everything(shards: Path, folder: Path) -> dict[str, Any]:
    """All that two ranks do, in one launch."""
    answers: dict[str, Any] = {}
    for name, strategy in STRATEGIES.items():
        answers[f"{name} copies"] = saved(shards, folder / name, strategy)
        answers[f"{name} stopped"] = interrupted(shards, folder / name, strategy)
        victim = int(name == "shards")  # where each writes, the second
        answers[f"{name} full"] = failed(shards, folder / name, strategy, victim)
    answers["mistaken"] = mistaken(shards, folder)
    return answers


@pytest.fixture(scope="module")
def launched(
    shards: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("two")
    return folder, run_ranks(everything, shards, folder, timeout=400)


def assert_same(tree: Any, expected: Any) -> None:
    if isinstance(expected, torch.Tensor):
        assert tree.dtype == expected.dtype
        assert torch.equal(tree, expected)
    elif isinstance(expected, dict):
        assert tree.keys() == expected.keys()
        for key, value in expected.items():
            assert_same(tree[key], value)
    elif isinstance(expected, (list, tuple)):
        for one, other in zip(tree, expected, strict=True):
            assert_same(one, other)
    else:
        assert tree == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_two_ranks_save_behind_the_steps_what_they_save_within_them(
    launched: tuple[Path, Any], name: str
) -> None:
    runs = [Run(launched[0] / name / how / "tiny" / "0001") for how in ("behind", "within")]
    ours, theirs = (run.checkpoints() for run in runs)
    assert [c.step for c in ours] == [c.step for c in theirs] == [3, 6, 7]
    for behind, within in zip(ours, theirs, strict=True):
        assert behind.damage() == ""
        assert_same(
            load_file(behind.path / "model.safetensors"),
            load_file(within.path / "model.safetensors"),
        )
        if name == "shards":  # the order of what is told in a safetensors file is by chance
            assert_same(read_whole(behind.trainer_file), read_whole(within.trainer_file))
            assert behind.files.keys() == within.files.keys()
        else:
            assert behind.trainer_file.read_bytes() == within.trainer_file.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_the_copies_are_as_large_as_planned(
    launched: tuple[Path, list[dict[str, Any]]], name: str
) -> None:
    planned, first = launched[1][0][f"{name} copies"]
    assert planned <= first <= planned + 8_192  # counters, and the states of generators
    _, second = launched[1][1][f"{name} copies"]
    assert second < first if name == "shards" else second == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_two_ranks_that_are_stopped_wait_for_both_checkpoints(
    launched: tuple[Path, list[dict[str, Any]]], name: str
) -> None:
    for answers in launched[1]:
        assert answers[f"{name} stopped"] == ["step-000003", "step-000005"]


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_all_ranks_stop_after_the_same_step_when_one_could_not_write(
    launched: tuple[Path, list[dict[str, Any]]], name: str
) -> None:
    first, second = (answers[f"{name} full"] for answers in launched[1])
    assert first[1] == second[1] == 4
    assert "The checkpoint of step 3 could not be written: " in first[0]
    assert "The checkpoint of step 3 could not be written: " in second[0]
    assert "too large" in first[0]
    assert list((launched[0] / name / "full" / "tiny" / "0001" / "checkpoints").iterdir()) == []


@pytest.mark.slow
def test_a_mistake_on_one_rank_ends_all_of_them(
    launched: tuple[Path, list[dict[str, Any]]],
) -> None:
    first, second = (answers["mistaken"] for answers in launched[1])
    assert first == ("a mistake of the program", 4)
    assert second[0].startswith("The checkpoint of step 3 could not be written: another rank")
    assert second[1] == 4


def goes_on_apart(shards: Path, runs: Path, strategy: Any) -> bool:
    """Goes on where the second rank's disk shows an older checkpoint than the first one's."""
    run = a_run(shards, runs, strategy).fit()
    composed, _ = resumed(str(run.path), {}, ["--trainer.max_steps=9"])
    composed.trainer.resumed_from -= not composed.trainer.is_global_zero
    with pytest.raises(CheckpointError, match="step 7 for one process and that of step 6 for"):
        composed.fit()
    return True


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_ranks_that_see_different_checkpoints_are_refused(
    strategy: str, shards: Path, tmp_path: Path
) -> None:
    assert run_ranks(goes_on_apart, shards, tmp_path, STRATEGIES[strategy]) == [True, True]
