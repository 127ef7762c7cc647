"""Saves behind the steps: the files of their own step, whole or not there, and no error is lost."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from held_saves import FullDisk, Held, Joins, before_writing

from roots.callbacks.background import Flight
from roots.callbacks.stability import last_good
from roots.callbacks.stop_signals import Interrupted
from roots.errors import TrainingError
from roots.fit import compose
from roots.fit.compose import Composed, resumed
from roots.runs import Run, read_metrics

AVERAGE = {"class_path": "roots.callbacks.WeightAverage", "init_args": {"decay": 0.5}}


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def run_of(composed: Composed) -> Run:
    assert composed.trainer.run is not None
    return composed.trainer.run


def fitted(config: dict, held: Held, overrides: dict[str, Any]) -> Run:
    composed = compose(config, overrides)
    composed.trainer.callbacks.insert(0, held)
    with before_writing(held):
        return composed.fit()


@pytest.mark.parametrize("callbacks", [[], [AVERAGE]])
def test_the_files_are_those_of_a_save_within_the_step_bit_by_bit(
    config: dict, callbacks: list
) -> None:
    every = {"trainer.max_steps": 7, "trainer.keep_best": 3, "trainer.callbacks": callbacks}
    held = Held({3: 5})  # by then the weights have moved on by two steps
    behind = fitted(config, held, every)
    within = compose(config, {**every, "trainer.save_in_background": False}).fit()
    assert [c.step for c in behind.checkpoints()] == [c.step for c in within.checkpoints()]
    for ours, theirs in zip(behind.checkpoints(), within.checkpoints(), strict=True):
        ours_files, theirs_files = files_of(ours.path), files_of(theirs.path)
        assert ours_files.keys() == theirs_files.keys()
        assert [n for n in ours_files if ours_files[n] != theirs_files[n]] == []
    assert [name.rpartition(".")[0] for name in held.while_held[3]] == [".step-000003"]


def test_the_one_before_is_the_newest_until_the_next_is_renamed(config: dict) -> None:
    held = Held({3: 4, 6: 8})
    run = fitted(config, held, {"trainer.max_steps": 9, "trainer.keep_best": 0})
    complete = [name for name in held.while_held[6] if not name.startswith(".")]
    assert complete == ["step-000003"]
    assert [c.step for c in run.checkpoints()] == [9]


def test_the_next_one_waits_for_the_one_on_its_way(config: dict) -> None:
    order: list[str] = []
    with before_writing(
        lambda flight: order.append(f"begins {flight.saving.step}"),
        lambda flight: order.append(f"ends {flight.saving.step}"),
    ):
        overrides = {"trainer.checkpoint_every_steps": 1, "trainer.val_every_steps": 3}
        compose(config, overrides).fit()
    assert order == [f"{what} {step}" for step in range(1, 7) for what in ("begins", "ends")]


class Addresses(L.Callback):
    """Notes where the copies lie, when each is written."""

    def __init__(self) -> None:
        self.by_step: dict[int, list[int]] = {}

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        self.by_step[trainer.global_step] = trainer.checkpoints._host.addresses


def test_every_save_of_a_fit_uses_the_same_memory_and_gives_it_back(config: dict) -> None:
    composed, addresses = compose(config, {"trainer.checkpoint_every_steps": 1}), Addresses()
    composed.trainer.callbacks.append(addresses)
    composed.fit()
    first = addresses.by_step[1]
    assert len(first) > 20
    assert all(addresses.by_step[step] == first for step in range(1, 6))
    assert composed.trainer.checkpoints._host.n_bytes == 0


def test_a_copy_takes_twelve_bytes_per_parameter_of_adamw(config: dict) -> None:
    composed, sizes = compose(config), {}
    noting = L.Callback()
    noting.on_train_batch_start = lambda trainer, *_: sizes.update(  # type: ignore[method-assign]
        {trainer.global_step: trainer.checkpoints._host.n_bytes}
    )
    composed.trainer.callbacks.append(noting)
    composed.fit()
    assert composed.model.trainable is not None
    n_parameters = sum(p.numel() for p in composed.model.trainable.parameters())
    n_tensors = len(list(composed.model.trainable.parameters()))
    assert sizes[2] == 0
    assert 12 * n_parameters <= sizes[3] <= 12 * n_parameters + 4 * n_tensors + 1000


# -- the end of a run -----------------------------------------------------------------------------


class Slow:
    """Writes long after the run has come to its end."""

    def __init__(self, seconds: float = 0.5) -> None:
        self.seconds = seconds

    def __call__(self, _flight: Any) -> None:
        time.sleep(self.seconds)


class AtStep(L.Callback):
    """Does something in the middle of a step, counted from 1."""

    def __init__(self, step: int, what: Any) -> None:
        self.step = step
        self.what = what

    def on_before_optimizer_step(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step - 1:
            self.what()


def stopped_by_sigterm() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def broken() -> None:
    raise ValueError("a mistake of the program")


def test_sigterm_waits_for_the_one_on_its_way_and_for_its_own(config: dict) -> None:
    composed = compose(config)
    composed.trainer.callbacks.insert(0, AtStep(4, stopped_by_sigterm))
    with before_writing(Slow()), pytest.raises(Interrupted, match="Stopped at step 4 by SIGTERM"):
        composed.fit()
    run = run_of(composed)
    assert sorted(p.name for p in run.checkpoints_folder.iterdir()) == [
        "step-000003",
        "step-000004",
    ]
    assert resumed(str(run.path), {}, [])[0].fit().last().step == 6


def test_a_run_that_breaks_waits_before_another_may_have_it(config: dict) -> None:
    composed = compose(config)
    composed.trainer.callbacks.insert(0, AtStep(4, broken))
    with before_writing(Slow()), pytest.raises(ValueError, match="a mistake of the program"):
        composed.fit()
    run = run_of(composed)
    assert [p.name for p in run.checkpoints_folder.iterdir()] == ["step-000003"]
    assert run.last_intact()[0].step == 3
    assert resumed(str(run.path), {}, [])[0].fit().last().step == 6


def test_the_newest_checkpoint_is_named_once_it_is_written(config: dict) -> None:
    told: list[str] = []
    composed = compose(config)
    composed.trainer.callbacks.insert(
        0, AtStep(4, lambda: told.append(last_good(composed.trainer)))
    )
    with before_writing(Slow()):
        composed.fit()
    assert "checkpoints/step-000003: go on with" in told[0]


# -- when writing fails ---------------------------------------------------------------------------


@pytest.mark.parametrize("n_bytes", [20_000, 150_000])  # in trainer.ckpt, and in the weights
def test_a_full_disk_stops_the_run_with_the_old_checkpoint_whole(
    config: dict, n_bytes: int
) -> None:
    composed, full = compose(config, {"trainer.max_steps": 12}), FullDisk((6,), n_bytes)
    composed.trainer.callbacks.insert(0, Joins(6))
    with (
        before_writing(full, full.over),
        pytest.raises(TrainingError, match=r"checkpoint of step 6 could not be written: .*too lar"),
    ):
        composed.fit()
    run = run_of(composed)
    assert composed.trainer.global_step == 7  # as soon as it was known
    assert [path.name for path in run.checkpoints_folder.iterdir()] == ["step-000003"]
    assert run.last_intact()[0].step == 3
    assert resumed(str(run.path), {}, [])[0].fit().last().step == 12  # with room again


def test_a_run_that_is_to_go_on_says_so_and_writes_the_next(
    config: dict, capsys: pytest.CaptureFixture
) -> None:
    told = {"trainer.on_failed_save": "go_on", "trainer.progress": True}
    composed, full = compose(config, {"trainer.max_steps": 12, **told}), FullDisk((6,))
    with before_writing(full, full.over):
        run = composed.fit()
    said = capsys.readouterr().err
    assert "The checkpoint of step 6 could not be written: " in said
    assert "Going on; the next one is tried when it is due." in said
    assert 6 not in [c.step for c in run.checkpoints()]
    assert run.last().step == 12


def test_what_failed_is_told_also_when_the_run_ends_by_something_else(
    config: dict, capsys: pytest.CaptureFixture
) -> None:
    composed, full = compose(config, {"trainer.max_steps": 12}), FullDisk((6,))
    composed.trainer.callbacks.insert(0, AtStep(7, broken))
    with before_writing(full, full.over), pytest.raises(ValueError, match="a mistake"):
        composed.fit()
    assert "The checkpoint of step 6 could not be written: " in capsys.readouterr().err


def test_a_mistake_of_the_program_is_raised_and_leaves_no_half_one(
    config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_files(_folder: Path) -> list[str]:
        raise ZeroDivisionError("a mistake of the program")

    monkeypatch.setattr("roots.callbacks.checkpoints.written_files", broken_files)
    composed = compose(config)
    composed.trainer.callbacks.insert(0, Joins(3))
    with pytest.raises(ZeroDivisionError, match="a mistake of the program"):
        composed.fit()
    assert composed.trainer.global_step == 4
    assert list(run_of(composed).checkpoints_folder.iterdir()) == []


def test_an_interrupt_while_one_is_waited_for_does_not_lose_it(
    config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed, whole, joins = compose(config), Flight.join, []

    def interrupted_once(self: Flight) -> None:
        joins.append(self.saving.step)
        if len(joins) == 1:
            raise KeyboardInterrupt  # as a second Ctrl-C while the first one's save is waited for
        whole(self)

    monkeypatch.setattr(Flight, "join", interrupted_once)
    checkpoints = composed.trainer.checkpoints
    composed.trainer.callbacks.insert(0, AtStep(4, partial(checkpoints.settle, composed.trainer)))
    with before_writing(Slow(0.5)), pytest.raises((KeyboardInterrupt, Interrupted, SystemExit)):
        composed.fit()
    assert [p.name for p in run_of(composed).checkpoints_folder.iterdir()] == ["step-000003"]
    assert len(joins) > 1


def test_memory_is_given_back_after_an_exception(config: dict) -> None:
    composed = compose(config)
    composed.trainer.callbacks.insert(0, AtStep(4, broken))
    with pytest.raises(ValueError, match="a mistake"):
        composed.fit()
    assert composed.trainer.checkpoints._host.n_bytes == 0


def test_what_breaks_while_there_is_no_folder_removes_nothing(
    config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "mine.txt").write_text("mine")
    monkeypatch.chdir(here)

    def full(final: Path) -> str:
        raise OSError(28, "No space left on device")

    def breaks(self: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("roots.callbacks.checkpoints.temporary_folder", full)
    monkeypatch.setattr("roots.strategies.host_copy.HostCopy.begin", breaks)
    with pytest.raises((TrainingError, KeyboardInterrupt, SystemExit)):
        compose(config).fit()
    assert (here / "mine.txt").read_text() == "mine"


def test_a_checkpoint_too_many_that_cannot_be_removed_stops_nothing(
    config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def busy(self: Path, target: Any) -> Path:
        if Path(target).name == ".step-000003":
            raise OSError(39, "Directory not empty")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", busy)
    run = compose(config, {"trainer.keep_best": 0}).fit()
    assert [c.step for c in run.checkpoints()] == [3, 6]


# -- what is told ---------------------------------------------------------------------------------


def test_a_save_says_how_long_it_took_in_the_step_and_behind_it(
    config: dict, capsys: pytest.CaptureFixture
) -> None:
    composed = compose(config, {"trainer.progress": True})
    composed.trainer.callbacks.insert(0, Joins(3))
    with before_writing(Slow(0.25)):
        run = composed.fit()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("saved")]
    first, last = lines
    assert first.startswith("saved step 3: 0.")
    assert "s in the step" in first
    assert first.endswith("s behind it")
    assert last.startswith("saved step 6: ")
    assert last.endswith(" s in the step")
    rows = {int(row["step"]): row for row in read_metrics(run.metrics_file)}
    assert [step for step, row in rows.items() if row["save/write_seconds"]] == [5]
    assert float(rows[5]["save/step_seconds"]) > 0
    assert f"{float(rows[5]['save/write_seconds']):.2f} s behind it" in first
