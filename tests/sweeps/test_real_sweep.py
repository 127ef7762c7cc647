"""Sweeps of real runs: each trial is `roots fit` in a process, or two, of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from roots.cli import run as roots
from roots.fit import compose
from roots.runs import Run, read_metrics
from roots.sweeps import read_sweep
from roots.sweeps.trial import FINISHED, PRUNED

RATE = "model.optimizer.init_args.learning_rate"


def sweep_content(config: dict[str, Any], folder: Path, **changes: Any) -> Path:
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    content = {"config": "run.yaml", "method": "grid", "metric": {"name": "val/loss"}, **changes}
    (folder / "real.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder / "real.yaml"


@pytest.mark.slow
def test_trials_are_the_runs_that_fit_makes_and_the_best_is_a_run_file(
    config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    parameters = {RATE: {"values": [1e-3, 3e-3]}, "data.sequences_per_step": {"values": [4, 8]}}
    file = sweep_content(config, tmp_path, parameters=parameters)
    where = tmp_path / "sweeps"
    assert roots(["sweep", str(file), "--workers", "2", f"--sweeps-dir={where}"]) == 0
    said = capsys.readouterr().out
    assert "best: trial" in said
    folder = where / "real/0001"
    same = compose(folder / "best.yaml", {"trainer.runs_dir": str(tmp_path / "again")}).fit()
    best = read_metrics(same.metrics_file)[-1]["val/loss"]
    assert f"val/loss {float(best):.6g}" in said, "the best run file gives the best value again"


@pytest.mark.slow
def test_a_trial_may_be_two_ranks_and_one_that_falls_behind_ends_with_its_checkpoint(
    config: dict[str, Any], tmp_path: Path
) -> None:
    config["trainer"] |= {
        "devices": 2,
        "strategy": "ddp",
        "max_steps": 400,
        "val_every_steps": 20,
        "log_every_steps": 20,
    }
    file = sweep_content(
        config,
        tmp_path,
        parameters={RATE: {"values": [3e-3, 1e-7]}},
        early_terminate={"type": "hyperband", "min_iter": 2},
    )
    sweep = read_sweep(file, sweeps_dir=tmp_path / "sweeps")
    sweep.run(say=lambda line: None)
    first, second = sweep.trials()
    assert (first.state, second.state) == (FINISHED, PRUNED)
    run = Run(second.notes["runs"]["None"])
    assert json.loads((run.path / "environment.json").read_text())["hardware"]["ranks"] == 2
    assert run.last().step < 400
    assert not run.last().damage()


@pytest.mark.slow
def test_a_trial_of_two_ranks_one_of_which_is_killed_goes_on_from_its_checkpoint(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers, each with a trial of two ranks."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    dies = {"name": "trial-0002", "rank": 0, "step": 5}
    config["trainer"] |= {
        "devices": 2,
        "strategy": "ddp",
        "val_every_steps": 3,
        "callbacks": [{"class_path": "rank_witness.RankDies", "init_args": dies}],
    }
    file = sweep_content(config, tmp_path, parameters={RATE: {"values": [1e-3, 3e-3]}})
    said: list[str] = []
    sweep = read_sweep(file, sweeps_dir=tmp_path / "sweeps")
    sweep.run(workers=2, say=said.append)
    assert [trial.state for trial in sweep.trials()] == [FINISHED, FINISHED]
    assert any(
        line.startswith("trial 2 was ended (") and "taken up again" in line for line in said
    ), said
    run = Run(sweep.trials()[1].notes["runs"]["None"])
    assert (run.path / "killed").exists()
    assert (run.path / "environment-from-000003.json").exists(), "it went on at step 3"
    assert [row["step"] for row in read_metrics(run.metrics_file)] == [str(n) for n in range(1, 7)]
