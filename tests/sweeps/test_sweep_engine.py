"""A sweep as a person runs it, with a stand-in for `roots fit` that takes no time."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import yaml
from small_sweeps import FOUR, RATE, ROWS, started, starts, sweep_of, wait_for, write

from roots.callbacks.stop_signals import Interrupted
from roots.cli import run as roots
from roots.errors import CheckpointError, ConfigError, DataError, TrainingError
from roots.runs import Run, read_metrics
from roots.sweeps import open_sweep, read_sweep
from roots.sweeps.places import n_cores
from roots.sweeps.trial import FAILED, FINISHED, PRUNED

pytestmark = pytest.mark.heavy


def test_eight_trials_by_two_workers_one_of_which_is_killed_in_the_middle(
    sweep_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KILL_AT", "3:5")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    said: list[str] = []
    sweep = sweep_of(sweep_file)
    best = sweep.run(workers=2, say=said.append)
    trials = sweep.trials()
    assert [t.state for t in trials] == [FINISHED] * 8
    assert [(t.values[RATE], t.values[ROWS]) for t in trials] == [
        (rate, rows) for rate in (0.1, 0.01, 0.001, 1e-4) for rows in (8, 16)
    ]
    assert starts(sweep, 3) == [0, 4], "it goes on from its checkpoint"
    assert starts(sweep, 4) == [0]
    assert [t.value for t in trials] == pytest.approx(
        [(d - 2) ** 2 + more + 1 / 6 for d in (1, 2, 3, 4) for more in (0, 1)]
    )
    assert (best.number, best.values[RATE]) == (2, 0.01)
    assert [list(t.curve) for t in trials] == [[2, 4, 6]] * 8
    assert "trial 3 was ended (SIGKILL) and is taken up again" in said
    assert sum(line.startswith("trial ") and "best" in line for line in said) == 8
    assert any(
        line.startswith("trial 1/8 · val/loss 1.1667 · learning_rate=0.1 sequences_per_step=8")
        for line in said
    )
    threads = (sweep.folder / "trials/trial-0001/0001/threads").read_text()
    assert threads == str(max(1, n_cores() // 2))


def test_the_report_and_the_best_run_file(sweep_file: Path, capsys: pytest.CaptureFixture) -> None:
    where = sweep_file.parent / "sweeps"
    assert roots(["sweep", str(sweep_file), "--workers", "2", f"--sweeps-dir={where}"]) == 0
    said = capsys.readouterr().out
    folder = where / "tiny/0001"
    assert f"roots fit --config {folder}/best.yaml" in said
    assert "best: trial 3, val/loss 0.166667" in said
    best = yaml.safe_load((folder / "best.yaml").read_text())
    assert (best["name"], best["trainer"]["runs_dir"]) == ("tiny-best", "my-runs")
    assert best["flags"][RATE] == "0.01"
    page = (folder / "report.html").read_text()
    assert page.count("<img") == 4
    assert 'src="http' not in page
    assert '<td class="number">1</td><td class="number">3</td><td>finished</td>' in page
    for name in ("history", "curves", "parallel", "importances"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    (folder / "report.html").unlink()
    assert roots(["sweep", "report", str(folder)]) == 0
    assert (folder / "report.html").is_file()


@pytest.mark.slow
def test_a_trial_that_falls_behind_is_ended_with_its_checkpoint_as_the_report_says(
    sweep_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECONDS", "0.2")
    write(
        sweep_file,
        parameters={RATE: {"values": [0.01, 1e-5]}},
        early_terminate={"type": "hyperband", "min_iter": 1, "eta": 3},
    )
    said: list[str] = []
    sweep = sweep_of(sweep_file)
    sweep.run(say=said.append)
    first, second = sweep.trials()
    assert (first.state, second.state) == (FINISHED, PRUNED)
    assert max(second.curve) < 6
    run = Run(second.notes["runs"]["None"])
    assert run.last().step == len(read_metrics(run.metrics_file)), "it wrote a checkpoint"
    assert any("ended early at val/loss 9.5" in line for line in said)
    page = (sweep.folder / "report.html").read_text()
    assert "1 finished, 1 pruned" in page
    assert "ended early at step 2" in page


@pytest.mark.slow
def test_several_seeds_give_the_mean_and_the_report_its_spread(sweep_file: Path) -> None:
    write(sweep_file, seeds=[1, 2, 3], parameters={RATE: {"values": [0.01, 0.1]}})
    sweep = sweep_of(sweep_file)
    best = sweep.run(say=lambda line: None)
    assert best.value == pytest.approx(0.02 + 1 / 6)
    assert best.curve == pytest.approx({1: 0.01 + 1 / 6, 2: 0.015 + 1 / 6, 3: 0.02 + 1 / 6})
    assert list(best.notes["runs"]) == ["1", "2", "3"]
    page = (sweep.folder / "report.html").read_text()
    assert "0.186667 ± 0.01 over 3 seeds" in page
    assert '<th class="number">±</th>' in page


@pytest.mark.slow
def test_no_trial_starts_after_the_target_was_reached(sweep_file: Path) -> None:
    write(sweep_file, metric={"name": "val/loss", "target": 0.5}, parameters=FOUR)
    sweep = sweep_of(sweep_file)
    sweep.run(say=lambda line: None)
    assert [trial.number for trial in sweep.trials()] == [0, 1]


def test_what_roots_refuses_is_a_failed_trial_and_the_sweep_goes_on(
    sweep_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL_AT", "1:3")
    write(sweep_file, parameters={RATE: {"values": [0.1, 0.01]}})
    said: list[str] = []
    sweep = sweep_of(sweep_file)
    sweep.run(workers=2, say=said.append)
    assert [trial.state for trial in sweep.trials()] == [FAILED, FINISHED]
    assert starts(sweep, 1) == [0], "it would fail again"
    assert any("trial 1/2 · failed: roots: The loss is nan at step 3." in line for line in said)


@pytest.mark.slow
def test_a_sweep_whose_first_trials_all_fail_ends(
    sweep_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL_AT", "all")
    sweep = sweep_of(sweep_file)
    with pytest.raises(
        TrainingError, match=r"first 3 trials all failed.*smaller learning rate"
    ) as e:
        sweep.run(say=lambda line: None)
    assert "trial-0003.log" in str(e.value)
    with pytest.raises(
        CheckpointError, match=r"No trial of .* is finished\. The last one failed: .*nan"
    ):
        _ = sweep.best


def test_trials_whose_metric_is_nan_are_as_hopeless_and_a_full_grid_has_no_more(
    sweep_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAN_AT", "all")
    write(sweep_file, parameters=FOUR)
    sweep = sweep_of(sweep_file)
    with pytest.raises(
        TrainingError,
        match=r"first 3 trials all failed, .* so: val/loss is nan at step 6\. Its log",
    ) as hopeless:
        sweep.run(say=lambda line: None)
    assert hopeless.value.exit_code == 1
    with pytest.raises(CheckpointError, match=r"nan at step 6\. Go on with: roots sweep --resume"):
        _ = sweep.best
    write(sweep_file, parameters={RATE: {"values": [0.1, 0.01]}})
    full = sweep_of(sweep_file)
    with pytest.raises(CheckpointError, match=r"All 2 points of its grid were tried: cor") as told:
        full.run(say=lambda line: None)
    assert "--trials" not in str(told.value)


def test_a_metric_that_no_run_has_logged_ends_the_sweep_with_the_nearest_name(
    sweep_file: Path,
) -> None:
    write(sweep_file, metric={"name": "val/los"})
    with pytest.raises(ConfigError, match=r"'val/los' is never logged.*did you mean 'val/loss'"):
        sweep_of(sweep_file).run(say=lambda line: None)


@pytest.mark.slow
def test_a_garbled_metrics_file_ends_the_sweep_by_its_name_and_mending_it_lets_it_go_on(
    sweep_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(sweep_file, parameters=FOUR)
    monkeypatch.setenv("GARBLE_AT", "2:4")
    sweep = sweep_of(sweep_file)
    with pytest.raises(DataError, match=r"Line 5 of .*trial-0002/0001/metrics\.csv is garbled"):
        sweep.run(say=lambda line: None)
    file = sweep.folder / "trials/trial-0002/0001/metrics.csv"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if "?" not in line))
    told: list[str] = []
    sweep.run(workers=2, say=told.append)
    assert [trial.state for trial in sweep.trials()] == [FINISHED] * 4, told


@pytest.mark.slow
def test_a_trial_that_never_logs_the_metric_fails_alone_and_nan_is_told_with_its_step(
    sweep_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of all ends the sweep, which may have the wrong name, but goes on without it."""
    write(sweep_file, parameters=FOUR)
    monkeypatch.setenv("SILENT", "trial-0001 trial-0003")
    monkeypatch.setenv("NAN_AT", "4:6")
    sweep = sweep_of(sweep_file)
    told: list[str] = []
    with pytest.raises(ConfigError, match=r"'val/loss' is never logged.*It logs train/loss\."):
        sweep.run(say=told.append)
    sweep.run(say=told.append)
    assert [t.state for t in sweep.trials()] == [FAILED, FINISHED, FAILED, FAILED]
    assert "trial 4/4 · failed: val/loss is nan at step 6 · best 0.16667 (trial 2)" in told
    assert "'val/loss' is never logged" in sweep.trials()[2].notes["because"]


def test_the_places_of_a_sweep_are_expanded_as_those_of_a_run_are(
    sweep_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its trials expand the directory that they are told: the metric was looked for elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHARED", str(tmp_path / "shared"))
    sweep = read_sweep(sweep_file, sweeps_dir="~/sweeps", storage="${SHARED}/journal.log")
    sweep.run(trials=1, say=lambda line: None)
    assert sweep.folder == tmp_path / "home/sweeps/tiny/0001"
    assert (tmp_path / "shared/journal.log").is_file()
    again = open_sweep("${HOME}/sweeps/tiny/0001", storage="~/../shared/journal.log")
    assert [trial.state for trial in again.trials()] == [FINISHED]
    for given in ({"sweeps_dir": "${NOWHERE}/a"}, {"storage": "${NOWHERE}/a"}):
        with pytest.raises(ConfigError, match="needs the variable NOWHERE, which is not set"):
            read_sweep(sweep_file, **given).run()


# -- stopped, killed, resumed ---------------------------------------------------------------------


def test_a_sweep_that_goes_on_comes_to_the_trials_that_were_asked_for(
    sweep_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Without --trials, which the grid of four and a file without run_cap would lose otherwise."""
    parameters = {RATE: {"min": 0.001, "max": 0.1}}
    monkeypatch.setenv("FAIL_AT", "all")
    for content in ({"parameters": FOUR}, {"method": "random", "parameters": parameters}):
        sweep = sweep_of(write(sweep_file, **content))
        with pytest.raises(CheckpointError, match=r"tiny/000\d --trials 1 "):
            sweep.run(trials=1, say=lambda line: None)
        assert open_sweep(sweep.folder).n_trials() == 1
    monkeypatch.delenv("FAIL_AT")
    assert roots(["sweep", "--resume", str(sweep.folder), "--trials", "2"]) == 0
    assert roots(["sweep", "--resume", str(sweep.folder)]) == 0
    assert [t.state for t in open_sweep(sweep.folder).trials()] == [FAILED, FINISHED]
    assert "0002: 2 trials (random)" in capsys.readouterr().out


@pytest.mark.slow
def test_bayes_begins_with_as_few_random_draws_as_the_trials_asked_for_tell(
    sweep_file: Path,
) -> None:
    parameters = {RATE: {"distribution": "log_uniform_values", "min": 1e-4, "max": 0.1}}
    tried = {}
    for method in ("random", "bayes"):
        sweep = sweep_of(write(sweep_file, method=method, parameters=parameters))
        sweep.run(trials=6, say=lambda line: None)
        tried[method] = [trial.values[RATE] for trial in sweep.trials()]
    assert tried["bayes"][:4] == tried["random"][:4]
    assert tried["bayes"][4] != tried["random"][4]


def test_a_sweep_that_was_killed_goes_on_with_the_trials_it_was_at(
    sweep_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its trials' processes outlive it; they are ended with a checkpoint before they go on."""
    monkeypatch.setenv("SECONDS", "0.3")
    write(sweep_file, parameters=FOUR)
    folder = sweep_file.parent / "sweeps/tiny/0001"
    process = started(sweep_file)
    for begun in ("trial-0001/0001/checkpoints/step-000002", "trial-0002/0001"):
        wait_for(folder / "trials" / begun, process)
    process.kill()
    process.join()
    sweep = open_sweep(folder)
    assert [(t.number, t.state) for t in sweep.trials()] == [(0, "running"), (1, "running")]
    told: list[str] = []
    monkeypatch.setenv("SECONDS", "0.02")
    sweep.run(workers=2, say=told.append)
    assert [(t.number, t.state) for t in sweep.trials()] == [(n, FINISHED) for n in range(4)]
    assert "trial 1 goes on where it was stopped" in told
    first, second = starts(sweep, 1)
    assert (first, 2 <= second <= 6) == (0, True)
    assert sweep.best.number == 1


@pytest.mark.slow
def test_a_sweep_that_lives_keeps_its_trials(
    sweep_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second process beside it takes new trials only."""
    monkeypatch.setenv("SECONDS", "0.1")
    write(sweep_file, parameters=FOUR)
    folder = sweep_file.parent / "sweeps/tiny/0001"
    process = started(sweep_file)
    wait_for(folder / "trials/trial-0001/0001/checkpoints/step-000001", process)
    told: list[str] = []
    sweep = open_sweep(folder)
    sweep.run(workers=1, say=told.append)
    process.join(60)
    assert process.exitcode == 0
    assert not any("goes on where it was stopped" in line for line in told)
    assert [t.state for t in sweep.trials()] == [FINISHED] * 4
    assert len({t.notes["owner"] for t in sweep.trials()}) == 2


@pytest.mark.slow
def test_two_directories_share_a_sweep_by_a_journal(sweep_file: Path, tmp_path: Path) -> None:
    write(sweep_file, parameters=FOUR)
    journal = str(tmp_path / "shared/journal.log")
    one = read_sweep(sweep_file, sweeps_dir=tmp_path / "one", storage=journal)
    one.run(trials=1, say=lambda line: None)
    two = read_sweep(sweep_file, sweeps_dir=tmp_path / "two", storage=journal)
    two.run(workers=2, say=lambda line: None)
    assert [t.state for t in two.trials()] == [FINISHED] * 4
    homes = [Path(t.notes["runs"]["None"]).relative_to(tmp_path).parts[0] for t in two.trials()]
    assert homes == ["one"] + ["two"] * 3
    with pytest.raises(ConfigError, match=r"keeps its trials in a storage.*Give it again"):
        open_sweep(two.folder)
    assert open_sweep(two.folder, storage=journal).best.number == 1


@pytest.mark.slow
def test_a_sweep_of_the_same_name_from_other_files_in_one_storage_is_told(
    sweep_file: Path, tmp_path: Path
) -> None:
    journal = str(tmp_path / "shared/journal.log")
    told: list[list[str]] = [[], [], []]
    write(sweep_file, parameters=FOUR)
    one = read_sweep(sweep_file, sweeps_dir=tmp_path / "one", storage=journal)
    one.run(trials=1, say=told[0].append)
    write(sweep_file, parameters=FOUR, name="tiny-2")
    read_sweep(sweep_file, sweeps_dir=tmp_path / "long", storage=journal).run(say=told[0].append)
    write(sweep_file, parameters={RATE: {"values": [0.1, 0.2]}})
    other = read_sweep(sweep_file, sweeps_dir=tmp_path / "two", storage=journal)
    other.run(trials=1, say=told[1].append)
    open_sweep(other.folder, storage=journal).run(say=told[2].append)
    lines = [[line for line in lines if "none of them is shared" in line] for lines in told]
    assert [len(each) for each in lines] == [0, 1, 0]
    assert f"the storage knows {one.study.name}, of which" in lines[1][0]


def test_ctrl_c_ends_every_trial_with_a_checkpoint_and_the_sweep_goes_on_later(
    sweep_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECONDS", "0.1")
    write(sweep_file, parameters=FOUR)
    before = signal.getsignal(signal.SIGINT)
    sweep = sweep_of(sweep_file)

    def interrupt(line: str) -> None:
        if line.startswith("trial 1/4"):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="stopped by SIGINT") as ended:
        sweep.run(say=interrupt)
    assert ended.value.exit_code == 130
    assert f"roots sweep --resume {sweep.folder}" in str(ended.value)
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.setenv("SECONDS", "0.02")
    assert roots(["sweep", "--resume", str(sweep.folder), "--workers", "2"]) == 0
    assert [t.state for t in sweep.trials()] == [FINISHED] * 4
