"""Cross-validation in a sweep: a trial is the mean of its folds."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_sweeps import RATE, started, starts, sweep_of, wait_for, write
from tiny_tasks import classes, task_config, write_jsonl

from roots.cli import run as roots
from roots.errors import ConfigError, DataError
from roots.fit import compose
from roots.runs import read_metrics
from roots.sweeps import Sweep, open_sweep, read_definition
from roots.sweeps.trial import FINISHED, PRUNED
from roots.sweeps.with_wandb import wandb_file

pytestmark = pytest.mark.heavy

TWO = {RATE: {"values": [0.01, 0.1]}}


def test_a_trial_is_the_mean_of_its_folds_and_the_report_tells_the_spread(
    sweep_file: Path, capsys: pytest.CaptureFixture
) -> None:
    write(sweep_file, parameters=TWO)
    where = sweep_file.parent / "sweeps"
    assert roots(["sweep", str(sweep_file), "--folds", "3", f"--sweeps-dir={where}"]) == 0
    said = capsys.readouterr().out
    sweep = open_sweep(where / "tiny/0001")
    assert sweep.definition.folds == 3, "it goes on as a cross-validation"
    best = sweep.best
    each = [0.03 + 1 / 6, 0.06 + 1 / 6, 0.09 + 1 / 6]
    assert best.notes["results"] == pytest.approx(
        {f"fold {n}": value for n, value in enumerate(each, start=1)}
    )
    assert best.value == pytest.approx(statistics.fmean(each))
    assert best.curve == pytest.approx(
        {1: each[0], 2: statistics.fmean(each[:2]), 3: statistics.fmean(each)}
    ), "the running mean"
    assert "best: trial 1, val/loss 0.226667 ± 0.03 over 3 folds" in said
    assert "trial 1/2 · val/loss 0.22667 ± 0.03 · learning_rate=0.01" in said
    page = (sweep.folder / "report.html").read_text()
    assert "0.226667 ± 0.03 over 3 folds" in page
    assert '<th class="number">±</th>' in page
    content = (sweep.folder / "best.yaml").read_text()
    assert "trial 1, val/loss 0.226667 ± 0.03 over 3 folds\n" in content
    assert "\n# It trains on all rows." in content
    assert yaml.safe_load(content)["data"]["init_args"] == {"val_fraction": 0.0}


@pytest.mark.slow
def test_a_sweep_that_was_killed_in_the_middle_of_a_cross_validation_goes_on_there(
    sweep_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECONDS", "0.5")
    monkeypatch.setenv("KILL_AT", "1-fold-3:4")
    write(sweep_file, parameters=TWO, folds=3)
    folder = sweep_file.parent / "sweeps/tiny/0001"
    process = started(sweep_file)
    wait_for(folder / "trials/trial-0001-fold-2/0001/checkpoints/step-000002", process)
    process.kill()
    process.join()
    monkeypatch.setenv("SECONDS", "0.02")
    sweep = open_sweep(folder)
    assert list(sweep.trials()[0].notes["results"]) == ["fold 1"]
    sweep.run(workers=2, say=lambda line: None)
    first, second = sweep.trials()
    assert (first.state, second.state) == (FINISHED, FINISHED)
    assert first.value == pytest.approx(0.06 + 1 / 6)
    assert starts(sweep, 1, "-fold-1") == [0], "what is done is not done again"
    begun, again = starts(sweep, 1, "-fold-2")
    assert (begun, 2 <= again <= 6) == (0, True)
    assert starts(sweep, 1, "-fold-3") == [0, 3], "a killed fold goes on from its checkpoint"


@pytest.mark.slow
def test_the_rule_that_ends_trials_early_is_fed_by_the_running_mean(sweep_file: Path) -> None:
    early = {"type": "hyperband", "min_iter": 2}
    write(sweep_file, parameters={RATE: {"values": [0.01, 1e-4]}}, folds=4, early_terminate=early)
    sweep = sweep_of(sweep_file)
    sweep.run(say=lambda line: None)
    first, second = sweep.trials()
    assert (first.state, second.state) == (FINISHED, PRUNED)
    assert len(first.curve) == 4
    assert second.curve == pytest.approx({1: 4.03 + 1 / 6, 2: 4.045 + 1 / 6})
    assert list(second.notes["runs"]) == ["fold 1", "fold 2"]


def test_seeds_and_folds_multiply() -> None:
    content = {"config": "x.yaml", "method": "grid", "parameters": TWO, "seeds": [7, 8], "folds": 2}
    definition = read_definition(content, base={})
    assert definition.repeats == "2 seeds x 2 folds"
    assert [fit.key for fit in definition.fits] == ["7 fold 1", "7 fold 2", "8 fold 1", "8 fold 2"]
    assert definition.fits[2].settings == {"seed": 8, "data.fold": 1, "data.folds": 2}
    assert definition.fits[2].ending == "-seed-8-fold-1"


# -- of real rows -----------------------------------------------------------------------------


@pytest.fixture
def labelled(encoder: Path, tmp_path: Path) -> dict[str, Any]:
    """The run file of a tiny classifier; its 30 rows have no validation file."""
    train = write_jsonl(tmp_path / "train.jsonl", classes(30, seed=3))
    arguments = {"train": str(train), "sequences_per_step": 8, "seq_len": 16}
    data = {"class_path": "roots.data.LabelledTexts", "init_args": arguments}
    return task_config("SequenceClassifier", data, encoder, tmp_path / "runs")


def sweep_over(config: dict[str, Any], **changes: Any) -> Sweep:
    content = {"config": "run.yaml", "method": "grid", "parameters": TWO, "folds": 3, **changes}
    return Sweep(read_definition(content, base=config))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"folds": 1}, "folds=1: set it to a whole number of 2 or more"),
        ({"folds": True}, "folds=True: set it to a whole number"),
        (
            {"parameters": {**TWO, "data.folds": {"values": [2, 3]}}},
            r"parameters\.data\.folds is set by the sweep itself\. Leave it out",
        ),
        (
            {"early_terminate": {"type": "hyperband", "min_iter": 4}},
            "a trial has 3. Set a smaller min_iter, or more folds",
        ),
        ({"folds": 11}, "11 folds need as many different texts of the class '(cat|dog|none)'"),
    ],
)
def test_what_is_no_cross_validation_of_these_rows(
    labelled: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        sweep_over(labelled, **changes).check()
    sweep_over(labelled).check()


def test_data_that_have_no_labelled_rows_or_a_validation_file_are_refused(
    config: dict[str, Any], labelled: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match="folds=3 divides labelled rows, and TokenCorpus reads"):
        sweep_over(config).check()
    labelled["data"]["init_args"]["val"] = labelled["data"]["init_args"]["train"]
    with pytest.raises(ConfigError, match=r"names some in data\.val\. Leave one of the two out"):
        sweep_over(labelled).check()
    labelled["data"]["init_args"] |= {"val": "", "train": "gone.jsonl"}
    with pytest.raises(DataError, match=r"gone\.jsonl"):
        sweep_over(labelled).check()


def test_wandb_and_a_resumed_sweep_take_no_folds(sweep_file: Path) -> None:
    write(sweep_file, folds=3)
    with pytest.raises(ConfigError, match=r"folds: W&B's engine has one run per trial"):
        wandb_file(read_definition(sweep_file))
    with pytest.raises(ConfigError, match=r"--folds [0-9]+ is that of a new sweep"):
        roots(["sweep", "--resume", "somewhere", "--folds", "3"])
    with pytest.raises(ConfigError, match=r"folds=0: set it to a whole number of 2 or more"):
        roots(["sweep", str(sweep_file), "--folds", "0"])


@pytest.mark.slow
def test_a_fold_is_the_run_of_fit_and_the_best_run_file_trains_on_all_rows(
    labelled: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(labelled))
    content = {"config": "run.yaml", "method": "grid", "parameters": TWO, "folds": 2, "run_cap": 1}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    sweep = sweep_of(tmp_path / "mine.yaml")
    results = sweep.run(say=lambda line: None).notes["results"]
    assert sweep.best.value == pytest.approx(statistics.fmean(results.values()))
    flags = {RATE: 0.01, "data.folds": 2, "data.fold": 2, "trainer.runs_dir": str(tmp_path / "one")}
    run = compose(tmp_path / "run.yaml", flags).fit()
    alone = float(read_metrics(run.metrics_file)[-1]["val/loss"])
    assert results["fold 2"] == pytest.approx(alone, rel=1e-6)
    assert results["fold 1"] != pytest.approx(alone, rel=1e-5), "other rows"
    assert sweep.folder is not None
    whole = compose(sweep.folder / "best.yaml", {"trainer.runs_dir": str(tmp_path / "all")})
    whole.fit()
    assert len(whole.data.split("train")) == 30
    assert not len(whole.data.split("val"))
