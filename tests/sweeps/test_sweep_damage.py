"""A sweep's directory from which something is missing, or in which something is damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_sweeps import FOUR, sweep_of, write

from roots.cli import run as roots
from roots.errors import CheckpointError
from roots.sweeps import open_sweep
from roots.sweeps.trial import FINISHED

BAD = {"sweep.yaml": ("", "a: [\n", "[1]", b"\xff"), "base.yaml": ("", "a: [\n", b"\xff")}
BAD |= {"sweep.json": ("", "{", "[]", b"\xff", '{"storage": "study.db", "trials": "4"}')}


@pytest.fixture
def folder(sweep_file: Path) -> Path:
    """The directory of a sweep of one trial so far."""
    write(sweep_file, parameters=FOUR)
    sweep = sweep_of(sweep_file)
    sweep.run(trials=1, say=lambda line: None)
    assert sweep.folder is not None
    return sweep.folder


def test_a_file_that_is_damaged_or_missing_is_named(folder: Path) -> None:
    for name, contents in BAD.items():
        good = (folder / name).read_bytes()
        for content in contents:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
            with pytest.raises(CheckpointError, match=f"{name} is missing or damaged: "):
                open_sweep(folder)
        (folder / name).unlink()
        with pytest.raises(CheckpointError, match=f"no {name}|{name} is missing or damaged: "):
            open_sweep(folder)
        (folder / name).write_bytes(good)
    assert len(open_sweep(folder).trials()) == 1


def test_a_sweep_without_its_trials_is_not_begun_again_in_their_runs(
    folder: Path, tmp_path: Path
) -> None:
    shutil.move(folder / "study.db", tmp_path / "study.db")
    with pytest.raises(
        CheckpointError, match=r"tiny/0001 lacks study\.db, in which its trials are"
    ):
        roots(["sweep", "--resume", str(folder)])
    assert not (folder / "study.db").exists()
    (folder / "study.db").touch()  # what a copy may leave that broke off
    with pytest.raises(CheckpointError, match=r"holds runs of trials, such as trial-0001, and no"):
        roots(["sweep", "report", str(folder)])
    with pytest.raises(
        CheckpointError, match=r"no trial of this sweep is in the storage: it is an"
    ):
        roots(["sweep", "--resume", str(folder), "--storage", str(tmp_path / "other.log")])
    (folder / "study.db").unlink()
    shutil.move(tmp_path / "study.db", folder / "study.db")
    sweep = open_sweep(folder)
    sweep.run(workers=2, trials=4, say=lambda line: None)
    assert [trial.state for trial in sweep.trials()] == [FINISHED] * 4


def test_a_sweep_whose_run_file_was_changed_is_not_begun_again_in_its_runs(folder: Path) -> None:
    base = (folder / "base.yaml").read_text()
    (folder / "base.yaml").write_text(base.replace("my-runs", "other-runs"))
    with pytest.raises(CheckpointError, match=r"is in study\.db: .* or base\.yaml was changed\."):
        _ = open_sweep(folder).best
    (folder / "base.yaml").write_text(base)
    assert open_sweep(folder).best.number == 0
