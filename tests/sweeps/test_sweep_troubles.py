"""What may go wrong beside a sweep's trials: how it ends then, and what it leaves."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from small_sweeps import FOUR, STAND_IN, sweep_of, write

from roots.cli import run as roots
from roots.errors import CheckpointError, ConfigError
from roots.runs import RunLock, claim, load_metrics, write_atomically
from roots.sweeps import engine, read_sweep, trial_run
from roots.sweeps.trial import FINISHED, RUNNING, Trial
from roots.sweeps.trial_run import Layout, TrialRun, end_holder


def test_a_trial_that_cannot_start_ends_the_sweep_with_its_words_after_the_others(
    sweep_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The second trial's run is held, as by a process on another machine."""
    monkeypatch.setenv("SECONDS", "0.1")
    write(sweep_file, parameters=FOUR)
    sweep = sweep_of(sweep_file)
    folder = tmp_path / "sweeps/tiny/0001"
    held: list[RunLock] = []

    def hold(_: str) -> None:
        if not held:
            run = claim(folder / "trials", "trial-0002")
            write_atomically(run.config_file, "name: trial-0002\n")
            held.append(RunLock(run.path))
            assert not held[0].acquire()
            where = '{"pid": 7, "host": "elsewhere", "since": 1}'
            (run.path / ".lock").write_text(where)

    with pytest.raises(CheckpointError, match=r"trial-0002/0001 is in use by process 7 on elsew"):
        sweep.run(workers=2, say=hold)
    trials = [child for child in psutil.Process().children() if STAND_IN in child.cmdline()]
    assert not trials, "they were waited for"
    workers = [RunLock(mine) for mine in (folder / "workers").iterdir()]
    assert [lock.acquire() for lock in workers] == [""]
    workers[0].release()
    held[0].release()
    monkeypatch.setenv("SECONDS", "0.02")
    sweep.run(workers=2, say=lambda line: None)
    assert [t.state for t in sweep.trials()] == [FINISHED] * 4


def test_a_command_that_is_not_there_is_named(sweep_file: Path) -> None:
    write(sweep_file, command=["/nowhere/at/all", "${args}"])
    with pytest.raises(ConfigError, match=r"/nowhere/at/all cannot be started: No such file.*comm"):
        sweep_of(sweep_file).run(say=lambda line: None)


# -- whose a trial is -----------------------------------------------------------------------------


def test_a_live_trial_of_a_container_with_the_same_name_and_process_number_is_left_alone(
    sweep_file: Path, tmp_path: Path
) -> None:
    write(sweep_file, parameters=FOUR)
    journal = str(tmp_path / "journal.log")
    sweep = read_sweep(sweep_file, sweeps_dir=tmp_path / "sweeps", storage=journal)
    there = sweep._open(journal)
    assert there.ask(4).number == 0
    there.note(0, owner=f"{socket.gethostname()}-{os.getpid()}")
    told: list[str] = []
    sweep.run(workers=2, say=told.append)
    assert [t.state for t in sweep.trials()] == [RUNNING] + [FINISHED] * 3
    assert any(line.startswith("trial 1 still runs elsewhere") for line in told)


@pytest.mark.parametrize("is_ours", [False, True])
def test_of_two_machines_that_take_a_trial_of_nobody_at_once_the_last_has_it(
    sweep_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_ours: bool
) -> None:
    monkeypatch.setattr(engine, "OWNERLESS_SECONDS", 0.0)
    monkeypatch.setattr(engine, "TAKING_SECONDS", 0.01, raising=False)
    write(sweep_file, parameters=FOUR)
    journal = str(tmp_path / "journal.log")
    sweep = read_sweep(sweep_file, sweeps_dir=tmp_path / "sweeps", storage=journal)
    ours = sweep._open(journal)
    assert ours.ask(4).number == 0
    note, taken = ours.note, []

    def at_once(number: int, **notes: Any) -> None:
        if number == 0 and not taken:
            taken.append(notes["owner"])
            order = [notes["owner"], "elsewhere-7"]
            for owner in reversed(order) if is_ours else order:
                note(0, owner=owner)
        else:
            note(number, **notes)

    monkeypatch.setattr(ours, "note", at_once)
    told: list[str] = []
    sweep.run(workers=2, say=told.append)
    assert [t.state for t in sweep.trials()] == [FINISHED if is_ours else RUNNING] + [FINISHED] * 3
    assert ("trial 1 goes on where it was stopped" in told) == is_ours
    assert any("trial 1 still runs elsewhere (elsewhere-7)" in line for line in told) != is_ours


def test_a_trial_that_was_killed_while_it_was_drawn_is_tried_as_its_number_says(
    sweep_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "OWNERLESS_SECONDS", 0.0)
    monkeypatch.setattr(engine, "TAKING_SECONDS", 0.0)
    write(sweep_file, parameters=FOUR)
    sweep = sweep_of(sweep_file)
    sweep._make_folder()
    sweep.study._study.ask()
    sweep.run(workers=2, say=lambda line: None)
    tried = [t.values["model.optimizer.init_args.learning_rate"] for t in sweep.trials()]
    assert tried == [0.1, 0.01, 0.001, 1e-4]


# -- a trial's processes --------------------------------------------------------------------------


def test_the_words_of_an_earlier_process_do_not_keep_a_crash_from_being_tried_again(
    sweep_file: Path, tmp_path: Path
) -> None:
    crash = "import sys; sys.exit('Segmentation fault')"
    write(sweep_file, parameters=FOUR, command=["${interpreter}", "-c", crash, "${args}"])
    layout = Layout(tmp_path / "sweep")
    run = TrialRun(read_sweep(sweep_file).definition, layout, Trial(0, RUNNING, {}), os.environ)
    write_atomically(layout.log(run.trial), "roots: Stopped at step 3 by SIGTERM.\n")
    run.start()
    while (code := run.ended()) is None:
        time.sleep(0.02)
    assert (code, run.last_words()) == (1, "Segmentation fault")
    assert run.may_retry(code)


def test_an_unchanged_metrics_file_is_read_once_and_a_row_more_is_seen(
    sweep_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path / "sweep")
    run = TrialRun(sweep_of(sweep_file).definition, layout, Trial(0, RUNNING, {}), os.environ)
    assert run.curve() == {}
    file = claim(layout.trials, "trial-0001").metrics_file
    write_atomically(file.parent / "config.yaml", "name: trial-0001\n")
    assert run.curve() == {}
    reads: list[Path] = []
    monkeypatch.setattr(trial_run, "load_metrics", lambda f: reads.append(f) or load_metrics(f))
    file.write_text("step,val/loss\n1,2.0\n")
    assert [run.curve() for _ in range(3)] == [{1: 2.0}] * 3
    with file.open("a") as more:
        more.write("2,1.0\n")
    assert [run.curve() for _ in range(3)] == [{1: 2.0, 2: 1.0}] * 3
    assert len(reads) == 2


def test_a_holder_that_is_gone_before_it_is_asked_to_end_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = claim(tmp_path, "trial-0001")
    held = RunLock(run.path)
    assert not held.acquire()

    def gone(*_: int) -> None:
        held.release()
        raise ProcessLookupError

    monkeypatch.setattr(os, "kill", gone)
    end_holder(run)
    assert not held.is_held


def test_a_secret_that_yaml_would_fold_is_found(
    sweep_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "it's " + "a long secret of many words " * 6 + "end"
    monkeypatch.setenv("MY_API_KEY", secret)
    write(sweep_file, parameters=FOUR, description=f"with: {secret}")
    with pytest.raises(ConfigError, match="hold the value of a secret environment variable"):
        sweep_of(sweep_file).run(say=lambda line: None)
    assert not (tmp_path / "sweeps").exists()
    monkeypatch.delenv("MY_API_KEY")
    sweep_of(sweep_file).run(workers=2, say=lambda line: None)


def test_a_secret_in_an_address_is_told_as_one(sweep_file: Path) -> None:
    write(sweep_file, description="see https://somebody:sesame-84@example.org/notes")
    with pytest.raises(ConfigError, match="hold a password or a token in an address, which") as e:
        sweep_of(sweep_file).run(say=lambda line: None)
    assert "sesame" not in str(e.value)
    write(sweep_file, parameters=FOUR, description="see https://example.org/notes")
    sweep_of(sweep_file).run(trials=1, say=lambda line: None)


def test_a_secret_in_the_command_comes_into_no_log_and_no_dry_run(
    sweep_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setenv("MY_TOKEN", "sesame-open-8457")
    asked = "import sys; sys.exit(sys.argv[1] != 'sesame-open-8457')"
    write(sweep_file, command=["${interpreter}", "-c", asked, "${envvar:MY_TOKEN}", "${args}"])
    definition = read_sweep(sweep_file).definition
    run = TrialRun(definition, Layout(tmp_path / "sweep"), Trial(0, RUNNING, {}), os.environ)
    run.start()
    while (code := run.ended()) is None:
        time.sleep(0.02)
    assert code == 0, "the process has it"
    said = run.layout.log(run.trial).read_text()
    roots(["sweep", str(sweep_file), "--dry-run"])
    for told in (said, capsys.readouterr().out):
        assert "<MY_TOKEN>" in told
        assert "sesame-open" not in told.replace(asked, "")
