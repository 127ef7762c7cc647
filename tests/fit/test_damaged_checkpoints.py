"""A run goes on from its newest checkpoint that is whole, and only one process does."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from tiny import tiny_config

from roots.cli import run as roots
from roots.errors import CheckpointError
from roots.fit import compose
from roots.fit.compose import from_run, resumed
from roots.runs import Run, read_metrics
from roots.runs.lock import LOCK_FILE, RunLock


def torn(folder: Path) -> None:
    """Cuts a file in the middle, as a power cut may."""
    file = folder / "trainer.ckpt"
    os.truncate(file, file.stat().st_size // 2)


def flipped(folder: Path) -> None:
    """Turns one bit of the weights around."""
    with (folder / "trainer.ckpt").open("r+b") as file:
        file.seek(20_000)
        byte = file.read(1)[0]
        file.seek(20_000)
        file.write(bytes([byte ^ 4]))


def without_record(folder: Path) -> None:
    (folder / "checkpoint.json").unlink()


def with_half_a_record(folder: Path) -> None:
    os.truncate(folder / "checkpoint.json", 20)


def without_a_file(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


DAMAGES = {
    torn: "trainer.ckpt has another sha256",
    flipped: "trainer.ckpt has another sha256",
    without_record: "No such file",
    with_half_a_record: "checkpoint.json is damaged",
    without_a_file: "model.safetensors is missing",
}


@pytest.fixture(scope="module")
def whole(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    config = a_config(shards, tmp_path_factory.mktemp("whole"))
    return read_metrics(compose(config).fit().metrics_file)


def a_config(shards: Path, runs: Path) -> dict[str, Any]:
    return tiny_config(shards, runs, max_steps=8, val_every_steps=2, keep_best=9)


@pytest.fixture(scope="module")
def cut(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was cut off after its checkpoint of step 6."""

    class PowerCut(L.Callback):
        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 7:
                raise RuntimeError("power cut")

    composed = compose(a_config(shards, tmp_path_factory.mktemp("cut")))
    composed.trainer.callbacks.insert(0, PowerCut())
    with pytest.raises(RuntimeError, match="power cut"):
        composed.fit()
    assert composed.trainer.run is not None
    return composed.trainer.run.path


@pytest.fixture
def run(cut: Path, tmp_path: Path) -> Run:
    """A copy of it, to be damaged."""
    return Run(shutil.copytree(cut, tmp_path / "tiny" / "0001"))


def numbers(rows: list[dict[str, str]]) -> list[tuple[str, ...]]:
    names = ("step", "train/loss", "optim/grad_norm", "val/loss")
    return [tuple(row[name] for name in names) for row in rows]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoints_are_passed_over_named_and_set_aside(
    run: Run, whole: list, damage: Any, capsys: pytest.CaptureFixture
) -> None:
    damage(run.checkpoint_folder(6))
    assert roots(["fit", "--resume", str(run.path)]) == 0
    said = capsys.readouterr().out
    assert f"checkpoints/step-000006: {DAMAGES[damage]}" in said or DAMAGES[damage] in said
    assert "resuming from" in said
    assert "checkpoints/step-000004" in said
    assert numbers(read_metrics(run.metrics_file)) == numbers(whole)
    names = sorted(path.name for path in run.checkpoints_folder.iterdir())
    assert names == ["damaged-step-000006", *(f"step-00000{n}" for n in (2, 4, 6, 8))]


def test_auto_takes_the_newest_whole_one_behind_two_that_are_not(
    run: Run, shards: Path, tmp_path: Path
) -> None:
    torn(run.checkpoint_folder(6))
    flipped(run.checkpoint_folder(4))
    composed, _ = resumed("auto", a_config(shards, tmp_path), [])
    assert composed.trainer.resumed_from == 2
    assert [folder.name for folder in composed.trainer.passed_over] == [
        "step-000006",
        "step-000004",
    ]


def test_a_run_of_damaged_checkpoints_only_is_an_error(run: Run) -> None:
    kept = (run.checkpoint_folder(6) / "trainer.ckpt").read_bytes()
    for step in (2, 4, 6):
        torn(run.checkpoint_folder(step))
    with pytest.raises(CheckpointError, match=r"^No checkpoint .* step-000006: trainer\.ckpt"):
        resumed(str(run.path), {}, [])
    (run.checkpoint_folder(6) / "trainer.ckpt").write_bytes(kept)  # brought back from a copy
    assert resumed(str(run.path), {}, [])[0].trainer.resumed_from == 6


def test_a_damaged_checkpoint_is_not_evaluated(run: Run) -> None:
    flipped(run.checkpoint_folder(6))
    with pytest.raises(CheckpointError, match=r"step-000006 is damaged: .* of the steps 2, 4\."):
        from_run(str(run.path), "6", [])
    from_run(str(run.path), "4", [])


def test_checkpoints_of_older_versions_without_sums_are_taken(run: Run) -> None:
    file = run.checkpoint_folder(6) / "checkpoint.json"
    record = json.loads(file.read_text())
    del record["files"]
    file.write_text(json.dumps(record))
    assert resumed(str(run.path), {}, [])[0].trainer.resumed_from == 6


# -- one process at a time ------------------------------------------------------------------------


def hold(run: Path, ready: Any) -> None:
    lock = RunLock(run)
    assert lock.acquire() == ""
    ready.set()
    signal.pause()


def holder_of(run: Path) -> Any:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=hold, args=(run, ready))
    process.start()
    assert ready.wait(30)
    return process


def test_a_run_in_use_is_refused_until_its_process_is_gone(run: Run) -> None:
    process = holder_of(run.path)
    try:
        composed, _ = resumed(str(run.path), {}, [])
        with pytest.raises(CheckpointError, match=rf"in use by process {process.pid} on .*, since"):
            composed.fit()
        assert not (run.path / "config-until-000006.yaml").exists()
    finally:
        process.kill()  # as kill -9 does: nothing cleans up
        process.join()
    assert str(process.pid) in (run.path / LOCK_FILE).read_text()
    assert resumed(str(run.path), {}, [])[0].fit().last().step == 8
    assert (run.path / LOCK_FILE).read_text() == ""


def test_the_process_that_trains_holds_its_run(shards: Path, tmp_path: Path) -> None:
    seen = []

    class Asks(L.Callback):
        def on_train_start(self, trainer: Any, module: Any) -> None:
            seen.append(asked(trainer.run.path))

    composed = compose(a_config(shards, tmp_path), {"trainer.max_steps": 3})
    composed.trainer.callbacks.append(Asks())
    run = composed.fit()
    assert f"process {os.getpid()} on" in seen[0]
    assert asked(run.path) == ""


def asked(run: Path) -> str:
    lock = RunLock(run)
    try:
        return lock.acquire()
    finally:
        lock.release()


def test_where_the_system_has_no_locks_the_holder_is_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = holder_of(tmp_path)

    def unsupported(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("roots.runs.lock.fcntl.flock", unsupported)
    try:
        assert f"process {process.pid} on" in asked(tmp_path)
    finally:
        process.kill()
        process.join()
    assert asked(tmp_path) == ""
