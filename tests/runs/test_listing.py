"""The list of runs: what is there, what state it is in, and what cannot be read."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_runs import make_run

from roots.cli import run as roots
from roots.errors import CheckpointError, ConfigError
from roots.records import duration
from roots.runs import Run, RunLock, find_runs, holder, list_runs
from roots.runs.command import in_bytes


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs of one name and one of another."""
    root = tmp_path / "runs"
    make_run(root / "alpha" / "0001", losses=[3.0, 2.0, 2.5], val={1: 3.5, 2: 1.5, 3: 2.0})
    make_run(root / "alpha" / "0002", losses=[1.0], state={"state": "failed", "why": "OSError: x"})
    make_run(root / "beta" / "0001", state={"state": "interrupted", "started": 500.0})
    return root


def by_name(folder: Path, **how: Any) -> dict[str, Any]:
    return {f"{run.name}/{run.id}": run for run in list_runs(folder, **how)}


def test_what_a_notebook_shows_of_a_run_is_its_directory(runs: Path) -> None:
    assert repr(Run(runs / "tiny" / "0001")) == f"Run('{runs}/tiny/0001')"


def test_every_run_is_listed_with_what_it_came_to(runs: Path) -> None:
    found = by_name(runs, now=lambda: 4600.0)
    assert list(found) == ["alpha/0001", "alpha/0002", "beta/0001"]
    run = found["alpha/0001"]
    assert (run.state, run.step, run.max_steps) == ("finished", 3, 3)
    assert (run.metric, run.best, run.best_step) == ("val/loss", 1.5, 2)  # the best, not the last
    assert run.age_seconds == 3600.0
    files = [path for path in (runs / "alpha" / "0001").rglob("*") if path.is_file()]
    assert run.size_bytes == sum(path.stat().st_size for path in files)
    assert found["alpha/0002"].why == "OSError: x"
    assert not any(run.trouble for run in found.values())


def test_a_folder_that_may_not_be_read_is_left_out_and_told(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    system = Path.is_file

    def is_file(path: Path) -> bool:
        if path.parent == runs / "beta":
            raise PermissionError(13, "Permission denied")
        return system(path)

    monkeypatch.setattr(Path, "is_file", is_file)
    assert list(by_name(runs)) == ["alpha/0001", "alpha/0002"]
    assert roots(["list", str(runs)]) == 0
    said = capsys.readouterr()
    assert "alpha/0002" in said.out
    assert said.err == f"left out, since you may not read it: {runs / 'beta'}\n"
    with pytest.raises(CheckpointError, match=rf"You may not read {runs / 'beta'}.*runs beside it"):
        find_runs([runs])
    assert len(find_runs([runs / "alpha"])) == 2  # the cure


def test_a_folder_of_one_name_and_a_single_run_are_listed_too(runs: Path) -> None:
    assert list(by_name(runs / "alpha")) == ["alpha/0001", "alpha/0002"]
    assert list(by_name(runs / "alpha" / "0002")) == ["alpha/0002"]
    assert list(by_name(runs.parent)) == ["alpha/0001", "alpha/0002", "beta/0001"]


def test_the_greatest_is_the_best_where_the_run_says_max(runs: Path) -> None:
    file = runs / "alpha" / "0001" / "config.yaml"
    file.write_text(file.read_text().replace("monitor_mode: min", "monitor_mode: max"))
    run = by_name(runs)["alpha/0001"]
    assert (run.best, run.best_step) == (3.5, 1)


def test_filters_and_orders(runs: Path) -> None:
    assert list(by_name(runs, name="al*")) == ["alpha/0001", "alpha/0002"]
    assert list(by_name(runs, state="failed, interrupted")) == ["alpha/0002", "beta/0001"]
    assert list(by_name(runs, sort="best")) == ["alpha/0002", "beta/0001", "alpha/0001"]
    assert next(iter(by_name(runs, sort="step"))) == "beta/0001"
    assert list(by_name(runs, sort="age"))[-1] == "beta/0001"
    assert list(by_name(runs, sort="state")) == ["alpha/0001", "alpha/0002", "beta/0001"]
    (runs / "alpha" / "0002" / "large").write_bytes(bytes(100_000))
    assert next(iter(by_name(runs, sort="size"))) == "alpha/0002"


@pytest.mark.parametrize(
    ("how", "wrong", "cure"),
    [({"state": "finshed"}, "finshed", "finished"), ({"sort": "siez"}, "siez", "size")],
)
def test_a_state_or_order_that_is_none_is_refused_with_the_nearest(
    runs: Path, how: dict, wrong: str, cure: str
) -> None:
    with pytest.raises(ConfigError, match=rf"'{wrong}' is none of .* \(did you mean '{cure}'\?\)"):
        list_runs(runs, **how)
    list_runs(runs, **dict.fromkeys(how, cure))


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"no folder {tmp_path}/none\. Give the folder of"):
        list_runs(tmp_path / "none")
    assert list_runs(tmp_path) == []


# -- running or not -------------------------------------------------------------------------------


def hold(run: Path, ready: Any, may_end: Any) -> None:
    lock = RunLock(run)
    assert lock.acquire() == ""
    ready.set()
    may_end.wait(60)
    lock.release()


def test_a_run_is_running_exactly_while_its_process_lives(runs: Path) -> None:
    path = runs / "alpha" / "0001"
    make = multiprocessing.get_context("fork")
    ready, may_end = make.Event(), make.Event()
    process = make.Process(target=hold, args=(path, ready, may_end))
    process.start()
    assert ready.wait(30)
    state = path / "state.json"
    state.write_text(state.read_text().replace("finished", "running"))
    try:
        run = by_name(runs)["alpha/0001"]
        assert run.state == "running"
        assert f"process {process.pid} on" in run.why
        assert by_name(runs)["alpha/0001"].state == "running"  # who looked took nothing
    finally:
        process.kill()
        process.join()
    assert str(process.pid) in (path / ".lock").read_text()  # nobody cleaned up
    run = by_name(runs)["alpha/0001"]
    assert (run.state, run.why) == ("interrupted", "its process ended without a word")


def test_a_number_that_another_program_got_is_not_running(runs: Path) -> None:
    path = runs / "alpha" / "0001"
    lock = RunLock(path)
    assert lock.acquire() == ""
    left = (path / ".lock").read_text()
    assert holder(path)  # this process is the one
    lock.release()
    assert holder(path) == ""
    (path / ".lock").write_text(left)  # as after a kill: the number lives (it is ours), unlocked
    assert holder(path) == ""


def test_where_the_system_has_no_locks_a_living_process_is_running(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = runs / "alpha" / "0001"
    lock = RunLock(path)
    lock.acquire()

    def unsupported(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("roots.runs.lock.fcntl.flock", unsupported)
    assert f"process {os.getpid()}" in holder(path)
    lock.release()
    assert holder(path) == ""


@pytest.mark.parametrize("left", ["", "{", '{"pid": 1}', '{"pid": "x", "host": "h", "since": 1}'])
def test_a_lock_file_that_says_nothing_holds_nothing(runs: Path, left: str) -> None:
    (runs / "alpha" / "0001" / ".lock").write_text(left)
    assert holder(runs / "alpha" / "0001") == ""
    assert by_name(runs)["alpha/0001"].state == "finished"


def test_a_run_of_an_older_version_is_judged_by_its_checkpoints(runs: Path) -> None:
    path = runs / "beta" / "0001"
    (path / "state.json").unlink()
    assert by_name(runs)["beta/0001"].state == "interrupted"
    folder = Run(path).checkpoint_folder(4)
    folder.mkdir(parents=True)
    (folder / "checkpoint.json").write_text('{"step": 4, "metrics": {}}')
    assert by_name(runs)["beta/0001"].state == "finished"


# -- what cannot be read --------------------------------------------------------------------------


def test_a_run_that_cannot_be_read_is_listed_with_its_trouble(runs: Path) -> None:
    (runs / "alpha" / "0001" / "config.yaml").unlink()
    with (runs / "alpha" / "0002" / "metrics.csv").open("a") as file:
        file.write("2,oops,1.0,200.0,\n")
    (runs / "beta" / "0001" / "state.json").write_text("{")
    found = by_name(runs)
    assert "has no config.yaml" in found["alpha/0001"].trouble
    assert found["alpha/0001"].state == "finished"
    assert "Line 3 of" in found["alpha/0002"].trouble
    assert "could not convert string to float: 'oops'" in found["alpha/0002"].trouble
    assert "state.json is damaged" in found["beta/0001"].trouble
    (runs / "beta" / "0001" / "state.json").unlink()  # the cure that it names
    assert not by_name(runs)["beta/0001"].trouble


def test_a_damaged_configuration_is_trouble_and_not_a_crash(runs: Path) -> None:
    (runs / "alpha" / "0001" / "config.yaml").write_text("trainer: {max_steps: [")
    assert "config.yaml cannot be read" in by_name(runs)["alpha/0001"].trouble
    (runs / "alpha" / "0001" / "config.yaml").write_text("- a list\n")
    assert "holds no `key: value` lines" in by_name(runs)["alpha/0001"].trouble


# -- names ----------------------------------------------------------------------------------------


def test_runs_are_found_by_directory_folder_pattern_and_name(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs.parent)
    paths = [str(run.path) for run in find_runs(["runs/beta/0001", "runs/*/0001", "alpha"])]
    assert paths == ["runs/beta/0001", "runs/alpha/0001", "runs/alpha/0002"]  # each once


def test_a_name_that_is_no_run_is_refused_with_the_nearest(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs.parent)
    with pytest.raises(
        CheckpointError,
        match=r"runs/alpha/0009 is no run, .*\(did you mean 'runs/alpha/000\d'\?\)",
    ):
        find_runs(["runs/alpha/0009"])
    (runs / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"runs/empty holds no run"):
        find_runs(["runs/empty"])


def test_the_trials_of_two_sweeps_are_found_and_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    trials = [f"{sweep}/0001/trials/trial-0001/0001" for sweep in ("one", "two")]
    for trial in trials:
        make_run(tmp_path / "sweeps" / trial)
    assert roots(["list", str(tmp_path / "sweeps")]) == 0
    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == trials
    assert roots(["list", str(tmp_path / "sweeps/one")]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[0] == "trial-0001/0001"


# -- the command ----------------------------------------------------------------------------------


def test_the_command_prints_a_table_with_the_errors_below(
    runs: Path, capsys: pytest.CaptureFixture
) -> None:
    assert roots(["list", str(runs)]) == 0
    table, notes = capsys.readouterr().out.split("\n\n")
    lines = table.splitlines()
    assert lines[0].split() == ["run", "state", "step", "best", "age", "size"]
    assert lines[1].split()[:9] == [
        *("alpha/0001", "finished", "3", "of", "3"),
        *("val/loss", "1.5", "at", "2"),
    ]
    assert notes == "alpha/0002: OSError: x\n"
    assert roots(["list", str(runs), "--state", "running"]) == 0
    assert capsys.readouterr().out == f"no such run in {runs}\n"


def test_the_command_prints_plain_values(runs: Path, capsys: pytest.CaptureFixture) -> None:
    assert roots(["list", str(runs), "--json", "--name", "beta"]) == 0
    (run,) = json.loads(capsys.readouterr().out)
    assert (run["name"], run["state"], run["best"]) == ("beta", "interrupted", 1.25)
    assert run["path"] == str(runs / "beta" / "0001")


def test_a_mistake_in_the_arguments_is_told_as_ours() -> None:
    with pytest.raises(ConfigError, match=r"Unrecognized arguments: --jsno\. See `roots list --h"):
        roots(["list", "--jsno"])


def test_the_list_imports_no_torch(runs: Path) -> None:
    code = (
        "import sys; from roots.cli import run; run(sys.argv[1:]);"
        "heavy = {'torch', 'lightning', 'numpy', 'matplotlib'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    command = [sys.executable, "-c", code, "list", str(runs)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0


def test_times_and_sizes_are_worded_by_their_largest_unit() -> None:
    assert [duration(s, units=1) for s in (5, 90, 7200, 200_000)] == [
        "5 s",
        "2 min",
        "2 h",
        "2 d",
    ]
    assert [in_bytes(n) for n in (5, 2048, 3 * 2**20)] == ["5 B", "2.0 KiB", "3.0 MiB"]


def test_a_run_that_vanishes_while_it_is_measured_does_not_matter(runs: Path) -> None:
    dangling = runs / "alpha" / "0001" / "link"
    dangling.symlink_to("nowhere")
    assert by_name(runs)["alpha/0001"].size_bytes > 0
    shutil.rmtree(runs / "alpha")
    assert list(by_name(runs)) == ["beta/0001"]
