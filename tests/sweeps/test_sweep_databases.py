"""Sweeps that several machines share by a server's database."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from servers import SECRET, Server
from small_sweeps import FOUR, RATE, wait_for, write

from roots.fit import compose
from roots.runs import write_atomically
from roots.sweeps import open_sweep, read_definition, read_sweep
from roots.sweeps.study import Study
from roots.sweeps.trial import FINISHED, run_of


def together(work: Any, *arguments: tuple[Any, ...]) -> list[Any]:
    """Processes that begin at once."""
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(len(arguments))

    def begin(*given: Any) -> None:
        barrier.wait(30)
        work(*given)

    processes = [fork.Process(target=begin, args=given) for given in arguments]
    for process in processes:
        process.start()
    return processes


def holds_no_password(folder: Path) -> bool:
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    return not any(SECRET.search(file.read_bytes().decode("utf-8", "replace")) for file in files)


def test_machines_that_begin_at_once_share_a_sweep_and_one_that_is_killed_goes_on(
    sweep_file: Path, postgresql: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The database is empty: all make its tables at once, and its study."""
    monkeypatch.setenv("SECONDS", "0.1")
    write(sweep_file, parameters=FOUR)
    url = postgresql.new_database()

    def work(where: str) -> None:
        sweep = read_sweep(sweep_file, sweeps_dir=tmp_path / where, storage=url)
        sweep.run(say=lambda line: None)

    one, two = together(work, ("one",), ("two",))
    folder = tmp_path / "one/tiny/0001"
    name = next_trial(folder, one)
    wait_for(folder / f"trials/{name}/0001/checkpoints/step-000002", one)
    one.kill()
    two.join(60)
    assert two.exitcode == 0
    sweep = open_sweep(folder, storage=url)
    assert sorted(t.state for t in sweep.trials()) == [FINISHED] * 3 + ["running"]
    told: list[str] = []
    sweep.run(say=told.append)
    trials = sweep.trials()
    assert [t.state for t in trials] == [FINISHED] * 4
    assert f"{trials[int(name[-4:]) - 1].label} goes on where it was stopped" in told
    first, second = (folder / f"trials/{name}/0001/starts").read_text().split()
    assert (first, int(second) >= 2) == ("0", True)
    homes = [Path(t.notes["runs"]["None"]).relative_to(tmp_path).parts[0] for t in trials]
    assert {"one", "two"} == {*homes}
    assert [t.value for t in trials] == pytest.approx([(d - 2) ** 2 + 1 / 6 for d in (1, 2, 3, 4)])
    assert holds_no_password(tmp_path)


def next_trial(folder: Path, process: Any) -> str:
    """The name of the first trial that begins in a sweep's directory."""
    end = time.monotonic() + 240  # a command that starts on a busy machine imports for long
    while not (names := [p.parent.name for p in folder.glob("trials/*/0001")]):
        assert process.is_alive()
        assert time.monotonic() < end
        time.sleep(0.02)
    return names[0]


def test_an_empty_database_is_opened_by_six_at_once(postgresql: Server) -> None:
    url = postgresql.new_database()
    content = {"config": "x", "method": "grid", "metric": {"name": "val/loss"}, "parameters": FOUR}
    definition = read_definition(content, base={})

    def work() -> None:
        assert Study(definition, url, "one").ask(9) is not None

    processes = together(work, *[()] * 6)
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 6
    assert [t.number for t in Study(definition, url, "one").trials()] == list(range(6))


@pytest.mark.parametrize("kind", ["postgresql", "sqlite", "journal"])
def test_a_trial_that_another_machine_was_faster_for_is_given_back_with_its_place_in_the_grid(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """So it is tried when the sweep goes on with more trials, and makes no row at each look."""
    places = {"sqlite": f"sqlite:///{tmp_path}/shared.db", "journal": str(tmp_path / "journal.log")}
    url = places.get(kind) or request.getfixturevalue(kind).new_database()
    content = {"config": "x", "method": "grid", "metric": {"name": "val/loss"}}
    points = {RATE: {"values": [1, 2, 3, 4, 5, 6]}}
    definition = read_definition({**content, "parameters": points}, base={})
    fast, late = Study(definition, url, "one"), Study(definition, url, "one")
    assert [trial.number for _ in range(4) if (trial := fast.ask(4))] == [0, 1, 2, 3]
    with monkeypatch.context() as before_the_last:
        before_the_last.setattr(late._study, "get_trials", lambda **_: [])
        assert late.ask(4) is None
    for study in (fast, late, late):
        assert study.ask(4) is None
        assert [trial.number for trial in study.trials()] == [0, 1, 2, 3]
    assert len(late._study.get_trials()) == 5
    more = [trial for study in (late, fast, late) if (trial := study.ask(6))]
    assert [(t.number, t.values[RATE]) for t in more] == [(4, 5), (5, 6)]
    late.tell(4, FINISHED, 1.0)
    assert [t.values[RATE] for t in fast.trials()] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_a_report_has_the_best_of_another_machine_whose_path_is_another_sweeps_here(
    sweep_file: Path, config: dict[str, Any], tmp_path: Path
) -> None:
    """Two machines each have a `sweeps/tiny/0001` of their own."""
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    write(sweep_file, parameters=FOUR)
    url = f"sqlite:///{tmp_path}/shared.db"
    there = read_sweep(sweep_file, sweeps_dir=tmp_path / "one", storage=url)
    there.run(workers=2, say=lambda line: None)
    there.folder.rename(tmp_path / "its disk")
    write_atomically(there.folder / "trials/trial-0002/0001/config.yaml", "name: another\n")
    write_atomically(there.folder / "workers/another-7/.lock", "")
    here = read_sweep(sweep_file, sweeps_dir=tmp_path / "two", storage=url)
    here.run(say=lambda line: None)
    best = yaml.safe_load((here.folder / "best.yaml").read_text())
    assert best["name"] == "tiny-best"
    assert best["model"]["init_args"]["optimizer"]["init_args"]["learning_rate"] == 0.01
    assert compose(here.folder / "best.yaml").config["data"]["init_args"]["seq_len"] == 16
    moved = open_sweep(tmp_path / "its disk", storage=url)
    run = run_of(moved.best, "None", moved.folder)
    assert run.path == tmp_path / "its disk/trials/trial-0002/0001", "a folder may be moved"


# -- as people run it ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_commands_with_one_file_and_one_url_share_a_sweep_through_a_kill_and_an_outage(
    server: Server,
    config: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """The checks are the real ones; the trials take no time."""
    monkeypatch.setenv("SECONDS", "0.5")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    file = write(tmp_path / "tiny.yaml", parameters=FOUR)
    url = server.new_database()

    def start(where: str, *words: str) -> Any:
        command = [sys.executable, "-m", "roots", "sweep", *words, f"--storage={url}"]
        with (tmp_path / f"{where}.txt").open("ab") as said:
            started = subprocess.Popen(command, stdout=said, stderr=said, cwd=tmp_path)
        request.addfinalizer(lambda: (started.kill(), started.wait()))
        return started

    one = start("one", str(file), "--sweeps-dir", str(tmp_path / "one"))
    two = start("two", str(file), "--sweeps-dir", str(tmp_path / "two"))
    folder = tmp_path / "one/tiny/0001"
    alive = type("Alive", (), {"is_alive": lambda self: one.poll() is None})()
    name = next_trial(folder, alive)
    wait_for(folder / f"trials/{name}/0001/checkpoints/step-000002", alive)
    one.kill()
    one.wait()
    server.stop()
    time.sleep(3)
    server.start()
    assert two.wait(300) == 0, (tmp_path / "two.txt").read_text()
    assert "still runs elsewhere" in (tmp_path / "two.txt").read_text()
    resumed = start("one", "--resume", str(folder))
    assert resumed.wait(300) == 0, (tmp_path / "one.txt").read_text()
    said = (tmp_path / "one.txt").read_text()
    assert "goes on where it was stopped" in said
    trials = open_sweep(folder, storage=url).trials()
    assert [t.state for t in trials] == [FINISHED] * 4
    assert "best: trial 2, val/loss 0.166667" in said
    assert yaml.safe_load((folder / "best.yaml").read_text())["name"] == "tiny-best"
    assert holds_no_password(tmp_path)
