"""The run directory: claimed once, read whole, written whole."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from roots.errors import CheckpointError, ConfigError
from roots.records import exchange
from roots.runs import (
    Run,
    atomic_folder,
    claim,
    network_folder,
    newest,
    open_run,
    redact,
    replace_folder,
    write_atomically,
    writing,
)


def a_checkpoint(run: Run, step: int, loss: float | None = None) -> Path:
    folder = run.checkpoint_folder(step)
    folder.mkdir(parents=True)
    metrics = {} if loss is None else {"val/loss": loss}
    (folder / "checkpoint.json").write_text(json.dumps({"step": step, "metrics": metrics}))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return claim(tmp_path, "tiny")


# -- claiming ---------------------------------------------------------------------------------


def test_runs_are_numbered_from_one(tmp_path: Path) -> None:
    names = [claim(tmp_path / "runs", "tiny").path for _ in range(3)]
    assert names == [tmp_path / "runs" / "tiny" / f"000{n}" for n in (1, 2, 3)]
    assert claim(tmp_path / "runs", "other").path.name == "0001"


def test_a_number_is_not_given_again_when_an_older_run_is_deleted(tmp_path: Path) -> None:
    for _ in range(3):
        claim(tmp_path, "tiny")
    (tmp_path / "tiny" / "0002").rmdir()
    assert claim(tmp_path, "tiny").path.name == "0004"


def test_other_folders_are_no_numbers(tmp_path: Path) -> None:
    for name in ("0007-copy", "notes", "²"):
        (tmp_path / "tiny" / name).mkdir(parents=True)
    (tmp_path / "tiny" / "12000").mkdir()
    assert claim(tmp_path, "tiny").path.name == "12001"


def claim_many(root: Path, n: int, ready: Any, answers: Any) -> None:
    ready.wait(60)
    answers.put([claim(root, "tiny").path.name for _ in range(n)])


def test_processes_that_claim_at_once_get_different_directories(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(4), context.Queue()
    arguments = (tmp_path, 20, ready, answers)
    processes = [context.Process(target=claim_many, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    names = [name for _ in processes for name in answers.get(timeout=60)]
    for process in processes:
        process.join(10)
    assert sorted(names) == [f"{n:04d}" for n in range(1, 81)]


def test_threads_that_claim_at_once_get_different_directories(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: claim(tmp_path, "tiny").path.name, range(64)))
    assert len(set(names)) == 64


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a b", "a\nb", "a\n", "a\0", "~/x"])
def test_a_name_that_is_no_folders_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        ConfigError, match=r"cannot be a folder's name\. Use letters, digits"
    ) as told:
        claim(tmp_path, name)
    assert repr(name) in str(told.value)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["llama-4m", "v1.2+x", "größe_3"])
def test_letters_digits_and_a_few_signs_are_a_name(tmp_path: Path, name: str) -> None:
    assert claim(tmp_path, name).path == tmp_path / name / "0001"


# -- finding ----------------------------------------------------------------------------------


def test_a_run_is_opened_by_its_directory(run: Run) -> None:
    run.config_file.write_text("name: tiny\n")
    assert open_run(str(run.path)).path == run.path
    assert run.metrics_file == run.path / "metrics.csv"


def test_what_is_no_run_directory_is_refused(tmp_path: Path, run: Run) -> None:
    with pytest.raises(
        CheckpointError, match=rf"{tmp_path}/none does not exist\. Give a run's own"
    ):
        open_run(tmp_path / "none")
    with pytest.raises(CheckpointError, match=r"tiny is no run directory \(no config\.yaml\)"):
        open_run(tmp_path / "tiny")  # the folder of all runs of this name
    run.config_file.touch()
    open_run(run.path)


def test_a_name_too_long_for_a_folder_is_no_run() -> None:
    with pytest.raises(CheckpointError, match=r"x{300} does not exist\. Give a run's own"):
        open_run("x" * 300)
    assert network_folder("x" * 300) == "x" * 300


def test_the_newest_run_is_the_one_with_the_highest_number(tmp_path: Path) -> None:
    for name in ("0002", "10000", "9999", "0002-copy", "20000 without a config"):
        (tmp_path / "tiny" / name).mkdir(parents=True)
        if "without" not in name:
            (tmp_path / "tiny" / name / "config.yaml").touch()
    assert newest(tmp_path, "tiny").path.name == "10000"


def test_where_there_is_no_run_none_is_the_newest(tmp_path: Path, run: Run) -> None:
    with pytest.raises(CheckpointError, match=rf"no run in {tmp_path}/tiny .* without --resume"):
        newest(tmp_path, "tiny")  # claimed, and stopped before it began
    run.config_file.touch()
    assert newest(tmp_path, "tiny").path == run.path


# -- checkpoints ------------------------------------------------------------------------------


def test_checkpoints_are_listed_by_step(run: Run) -> None:
    for step in (1_000_000, 20, 999_999, 3):
        a_checkpoint(run, step)
    assert [c.step for c in run.checkpoints()] == [3, 20, 999_999, 1_000_000]
    assert run.last().step == 1_000_000
    assert run.last().trainer_file == run.checkpoints_folder / "step-1000000" / "trainer.ckpt"


def test_a_folder_that_is_not_whole_is_no_checkpoint(run: Run) -> None:
    a_checkpoint(run, 10)
    run.checkpoint_folder(20).mkdir()
    (run.checkpoint_folder(20) / "trainer.ckpt").write_bytes(b"cut sho")
    assert [c.step for c in run.checkpoints()] == [10]


def test_a_folder_under_its_temporary_name_is_no_checkpoint(run: Run) -> None:
    a_checkpoint(run, 10)
    whole = a_checkpoint(run, 20)
    whole.rename(whole.with_name(".step-000020.x7f"))
    assert [c.step for c in run.checkpoints()] == [10]


def test_the_best_has_the_smallest_metric_among_those_that_were_measured(run: Run) -> None:
    for step, loss in ((10, 3.0), (20, 1.5), (30, 2.0), (40, None)):
        a_checkpoint(run, step, loss)
    assert run.best("val/loss").step == 20
    assert run.best("val/loss").metrics == {"val/loss": 1.5}
    assert run.best("val/other").step == 40  # never measured: the newest


@pytest.mark.parametrize(("mode", "best"), [("min", 40), ("max", 30)])
def test_what_is_no_number_is_never_the_best(run: Run, mode: str, best: int) -> None:
    for step, loss in ((10, math.nan), (20, None), (30, 0.9), (40, 0.5)):
        a_checkpoint(run, step, loss)
    record = run.checkpoint_folder(20) / "checkpoint.json"
    record.write_text('{"step": 20, "metrics": {"val/loss": null}}')  # as JSON writes NaN
    run.config_file.write_text(f"trainer: {{monitor: val/loss, monitor_mode: {mode}}}")
    assert run.best().step == best


def test_where_no_metric_is_a_number_the_newest_is_the_best(run: Run) -> None:
    for step in (10, 20):
        a_checkpoint(run, step, math.nan)
    assert run.best().step == 20


def test_a_checkpoint_is_named_by_best_last_or_step(run: Run) -> None:
    for step, loss in ((10, 1.0), (20, 2.0)):
        a_checkpoint(run, step, loss)
    assert [run.checkpoint(which).step for which in ("best", "last", "10", "20")] == [
        10,
        20,
        10,
        20,
    ]


def test_a_checkpoint_that_is_not_there_is_refused_with_those_that_are(run: Run) -> None:
    a_checkpoint(run, 10)
    a_checkpoint(run, 20)
    with pytest.raises(
        CheckpointError, match=r"no checkpoint '15'; .* the steps 10, 20\. Name one"
    ):
        run.checkpoint("15")
    for cure in ("10", "20", "best", "last"):
        run.checkpoint(cure)


def test_a_run_without_a_checkpoint_says_so(run: Run) -> None:
    for ask in (run.last, lambda: run.best("val/loss"), lambda: run.checkpoint("last")):
        with pytest.raises(CheckpointError, match=r"no complete checkpoint\. .* without --resume"):
            ask()
    with pytest.raises(CheckpointError, match=r"no checkpoint '3'; .* \(none\)"):
        run.checkpoint("3")


# -- writing ----------------------------------------------------------------------------------


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_folder_appears_when_its_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "folder"
    with atomic_folder(target) as temporary:
        (temporary / "file").write_text("x")
        assert temporary.parent == target.parent  # a rename within one file system
        assert not target.exists()
    assert everything_in(tmp_path) == ["deep", "deep/folder", "deep/folder/file"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o755


def test_a_folder_replaces_an_older_one_whole(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").touch()
    with atomic_folder(target) as temporary:
        (temporary / "new").touch()
        assert everything_in(target) == ["old"]
    assert everything_in(tmp_path) == ["folder", "folder/new"]


def fail_half_way(target: Path, error: type[BaseException]) -> None:
    with atomic_folder(target) as temporary:
        (temporary / "half").touch()
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_nothing_behind_and_the_old_folder_as_it_was(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "folder"
    with pytest.raises(error):
        fail_half_way(target, error)
    assert everything_in(tmp_path) == []
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(error):
        fail_half_way(target, error)
    assert everything_in(tmp_path) == ["folder", "folder/old"]


@pytest.mark.parametrize("at_once", [True, False])
def test_replacing_leaves_no_trace_of_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    if not at_once:  # as on NFS
        monkeypatch.setattr(writing, "exchange", lambda *_: False)
    for name in ("temporary", "folder"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    replace_folder(tmp_path / "temporary", tmp_path / "folder")
    assert everything_in(tmp_path) == ["folder", "folder/temporary"]


def test_a_folder_is_there_at_every_moment_of_its_replacement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("temporary", "folder"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not exchange(tmp_path / "temporary", tmp_path / "folder"):
        pytest.skip("this file system cannot exchange two names")
    monkeypatch.setattr(Path, "rename", None)  # which would leave a moment without it
    replace_folder(tmp_path / "temporary", tmp_path / "folder")
    assert everything_in(tmp_path) == ["folder", "folder/folder"]


def test_names_that_cannot_be_exchanged_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        exchange(tmp_path / "one", tmp_path / "nowhere")
    assert everything_in(tmp_path) == ["one"]


def test_a_file_is_written_with_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "file.txt"
    write_atomically(file, "Grüße\n")
    write_atomically(file, "熊\n")
    assert file.read_bytes() == "熊\n".encode()
    assert everything_in(tmp_path) == ["deep", "deep/file.txt"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_a_crash_while_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file.txt"
    write_atomically(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(file, "new \ud800")  # half of a surrogate pair cannot be written
    assert (file.read_text(), everything_in(tmp_path)) == ("old", ["file.txt"])

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_atomically(file, "new")
    assert (file.read_text(), everything_in(tmp_path)) == ("old", ["file.txt"])


# -- secrets ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["WANDB_API_KEY", "HF_TOKEN", "my_secret", "DB_PASSWORD", "SMTP_PASSWD", "CREDENTIALS"]
)
def test_the_values_of_secret_variables_become_their_names(name: str) -> None:
    text = redact("--key=hunter2hunter2 and hunter2hunter2", {name: "hunter2hunter2", "HOME": "/r"})
    assert text == f"--key=<{name}> and <{name}>"


def test_what_is_no_secret_or_too_short_to_be_one_stays() -> None:
    environment = {"HOME": "/home/somebody", "API_KEY": "1234567", "EMPTY_TOKEN": ""}
    text = "in /home/somebody with 1234567"
    assert redact(text, environment) == text


def test_a_secret_that_begins_with_another_is_replaced_whole() -> None:
    environment = {"A_TOKEN": "abcdefgh", "B_TOKEN": "abcdefgh-and-more"}
    assert redact("abcdefgh-and-more, abcdefgh", environment) == "<B_TOKEN>, <A_TOKEN>"


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOTS_TEST_TOKEN", "correct horse battery")
    assert redact("a correct horse battery") == "a <ROOTS_TEST_TOKEN>"
    assert os.environ["ROOTS_TEST_TOKEN"] == "correct horse battery"


def test_a_damaged_record_of_a_checkpoint_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "step-000003"
    folder.mkdir(parents=True)
    (folder / "checkpoint.json").write_text('{"step": 3')
    with pytest.raises(CheckpointError, match=r"step-000003/checkpoint.json is damaged"):
        Run(tmp_path).checkpoints()
    shutil.move(folder, tmp_path / "away")
    assert Run(tmp_path).checkpoints() == []
