"""Storages of sweeps that are cut off, away for a while, or away for good."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from servers import SECRET, Server
from small_sweeps import FOUR, RATE, write

from roots.callbacks.stop_signals import Interrupted
from roots.cli import run as roots
from roots.errors import CheckpointError, ConfigError
from roots.sweeps import open_sweep, read_definition, read_sweep, storage
from roots.sweeps.storage import Storage, StorageLost
from roots.sweeps.study import Study
from roots.sweeps.trial import FAILED, FINISHED

CONTENT = {"config": "x", "method": "grid", "metric": {"name": "val/loss"}, "parameters": FOUR}


@pytest.mark.slow
def test_a_statement_that_is_cut_off_anywhere_is_said_again(postgresql: Server) -> None:
    """The server ends the connection while it is used, at each statement of each method once."""
    url = postgresql.new_database()
    study = Study(read_definition(CONTENT, base={}), url, "one")
    engine = study._study._storage._backend.engine
    left: list[int] = []
    n_more: list[int] = []
    n_cuts = 0

    @sqlalchemy.event.listens_for(engine, "before_cursor_execute")
    def cut(*_: Any) -> None:
        nonlocal n_cuts
        if left and left[0] == 0:
            left.clear()
            n_cuts += 1
            postgresql.ask(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                f" WHERE datname = '{url.rpartition('/')[2]}'"
            )
        elif left:
            left[0] -= 1

    def at_each(work: Any) -> None:
        place, before = 0, -1
        while before != n_cuts:
            before = n_cuts
            work(place, lambda place=place: left.append(place))
            left.clear()
            place += 1

    def ask(place: int, begin: Any) -> None:
        n_before = len(study.trials())
        begin()
        trial = study.ask(99)
        assert trial.values == {RATE: (0.1, 0.01, 0.001, 1e-4)[trial.number % 4]}
        assert study.trials()[trial.number].values == trial.values
        n_more.append(len(study.trials()) - n_before)

    def note_report_tell(place: int, begin: Any) -> None:
        number = study.ask(99).number
        begin()
        study.note(number, owner="me")
        assert [study.report(number, step, step / 2) for step in (1, 2)] == [False, False]
        study.tell(number, FINISHED, 3.0)
        left.clear()
        trial = study.trials()[number]
        assert (trial.notes, trial.curve) == ({"owner": "me"}, {1: 0.5, 2: 1.0})
        assert (trial.state, trial.value) == (FINISHED, 3.0)

    at_each(ask)
    assert set(n_more) <= {1, 2}, "at worst one trial is left that has no owner"
    assert n_more.count(2) <= len(n_more) // 4
    n_of_ask = n_cuts
    at_each(note_report_tell)
    assert n_cuts - n_of_ask > 10 < n_of_ask
    begun, seen = study.trials(), []
    at_each(lambda _, begin: (begin(), seen.append(study.trials())))
    assert all(trials == begun for trials in seen)
    assert study.importances() == {}


def test_a_storage_that_was_given_up_is_not_waited_for_by_the_clean_up(
    sweep_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECONDS", "0.1")
    write(sweep_file, parameters=FOUR)
    url = f"sqlite:///{tmp_path}/shared.db"
    sweep = read_sweep(sweep_file, sweeps_dir=tmp_path / "sweeps", storage=url)
    waits: list[bool] = []

    def lost(*_: Any, **__: Any) -> None:
        waits.append(not sweep.study.storage.gives_up())
        raise StorageLost("It broke off.")

    def say(line: str) -> None:
        if line.startswith("trial 1/4"):
            monkeypatch.setattr(sweep.study, "note", lost)

    with pytest.raises(StorageLost):
        sweep.run(workers=2, say=say)
    assert waits[0]
    assert not any(waits[1:])
    assert sweep.study.storage.gives_up(), "its report does not wait again"


def test_a_late_machine_that_finds_all_trials_begun_and_none_finished_leaves_quietly(
    sweep_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    write(sweep_file, parameters=FOUR)
    url = f"sqlite:///{tmp_path}/shared.db"
    there = read_sweep(sweep_file, sweeps_dir=tmp_path / "there", storage=url)._open(url)
    for number in range(4):
        assert there.ask(4).number == number
        there.note(number, owner="elsewhere-7")
    late = ["sweep", str(sweep_file), f"--storage={url}", f"--sweeps-dir={tmp_path / 'here'}"]
    assert roots(late) == 0
    said = capsys.readouterr().out
    assert said.count("still runs elsewhere (elsewhere-7)") == 4
    assert "no trial is finished yet, and none is left to begin" in said
    for number in range(4):
        there.tell(number, FAILED)
    with pytest.raises(CheckpointError, match="is finished"):
        roots(late)


# -- how a driver is told -------------------------------------------------------------------------


def test_a_silent_network_is_noticed_unless_the_address_says_otherwise(server: Server) -> None:
    url = server.new_database()
    ours = Storage(url).open().engine.raw_connection()
    if server.kind == "postgresql":
        own = Storage(f"{url}?keepalives_idle=5").open().engine.raw_connection()
        told, theirs = (c.driver_connection.info.get_parameters() for c in (ours, own))
        assert (told["keepalives_idle"], told["tcp_user_timeout"]) == ("30", "60000")
        assert (theirs["keepalives_idle"], theirs["keepalives_count"]) == ("5", "3")
    else:
        own = Storage(f"{url}?read_timeout=5").open().engine.raw_connection()
        told, theirs = (vars(c.driver_connection) for c in (ours, own))
        assert (told["_read_timeout"], told["_write_timeout"]) == (60, 60)
        assert (theirs["_read_timeout"], theirs["_write_timeout"]) == (5, 60)


def test_a_study_that_may_not_be_made_is_told_in_words(postgresql: Server) -> None:
    url, definition = postgresql.new_database(), read_definition(CONTENT, base={})
    Study(definition, url, "one")
    name = url.rpartition("/")[2]
    postgresql.ask(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(ConfigError, match="cannot be opened: cannot execute INSERT in a read"):
        Study(definition, url, "two")
    postgresql.ask(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
    assert Study(definition, url, "two").trials() == []


# -- a server that is away -----------------------------------------------------------------------


@pytest.mark.slow
def test_a_server_that_is_away_for_a_while_is_waited_for(
    sweep_file: Path, postgresql: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(storage, "ASK_AGAIN_SECONDS", 0.05)
    write(sweep_file, parameters=FOUR)
    back: list[threading.Timer] = []

    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("trial 2/4"):
            postgresql.stop()
            back.append(threading.Timer(1.0, postgresql.start))
            back[0].start()

    url = postgresql.new_database()
    sweep = read_sweep(sweep_file, sweeps_dir=tmp_path / "sweeps", storage=url)
    sweep.run(say=say)
    back[0].join()
    away = [
        n for n, line in enumerate(said) if line.startswith("the storage (postgresql at 127.0.")
    ]
    assert len(away) == 2, said
    assert "is away and waited for: connection" in said[away[0]]
    assert said[away[1]].endswith(" is back")
    assert [t.state for t in sweep.trials()] == [FINISHED] * 4


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [False, True])
def test_one_that_stays_away_ends_the_sweep_which_goes_on_once_it_is_back(
    sweep_file: Path,
    postgresql: Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    stopped: bool,
) -> None:
    """At once where the sweep is asked to stop while it waits."""
    monkeypatch.setattr(storage, "ASK_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(storage, "OUTAGE_SECONDS", 600 if stopped else 0.3)
    monkeypatch.setenv("SECONDS", "0.05")
    write(sweep_file, parameters=FOUR)

    def say(line: str) -> None:
        if line.startswith("trial 1/4"):
            postgresql.stop()
            if stopped:
                threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()

    url = postgresql.new_database()
    sweep = read_sweep(sweep_file, sweeps_dir=tmp_path / "sweeps", storage=url)
    try:
        kind, words = (
            (Interrupted, "stopped by SIGTERM while its storage was away")
            if stopped
            else (StorageLost, r"postgresql at 127\.0\.0\.1.* broke off")
        )
        with pytest.raises(kind, match=words) as lost:
            sweep.run(workers=2, say=say)
    finally:
        postgresql.start()
    assert lost.value.exit_code == (130 if stopped else 1)
    assert "roots sweep --resume" in str(lost.value)
    assert not SECRET.search(str(lost.value))
    again = open_sweep(sweep.folder, storage=url)
    again.run(workers=2, say=lambda line: None)
    assert [t.state for t in again.trials()] == [FINISHED] * 4
