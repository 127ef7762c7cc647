"""What is monitored must be measured; else no checkpoint is removed, and the run says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
from ranks import run_ranks
from tiny import tiny_config

from roots.callbacks import GeneratedTexts
from roots.errors import ConfigError
from roots.fit import compose
from roots.fit.compose import resumed
from roots.metrics import GeneratedText
from roots.runs import Run


class ReportsLater(L.Callback):
    """Measures its metric in the last validation only."""

    reports_later = ("val/late",)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.global_step >= trainer.max_steps:
            pl_module.report({"val/late": 1.0})


def steps_of(run: Run) -> list[int]:
    return [checkpoint.step for checkpoint in run.checkpoints()]


def refused(config: dict[str, Any], ranks: int) -> str:
    composed = compose(config, {"trainer.devices": ranks})
    with pytest.raises(ConfigError) as error:
        composed.fit()
    return str(error.value)


def test_a_misspelt_monitor_is_refused_after_the_first_validation_and_a_resume_mends_it(
    config: dict[str, Any],
) -> None:
    config["trainer"].update(val_every_steps=1, max_steps=3, monitor="val/los")
    composed = compose(config)
    with pytest.raises(ConfigError, match=r"val/los is nothing.*did you mean 'val/loss'.*Step 1"):
        composed.fit()
    run = composed.trainer.run
    assert run is not None
    assert steps_of(run) == [1]
    again, _ = resumed(str(run.path), {}, ["--trainer.monitor", "val/loss"])
    again.fit()
    assert run.last().step == 3
    assert run.monitor == ("val/loss", "min")


def test_no_checkpoint_is_removed_by_a_metric_that_is_not_there(config: dict[str, Any]) -> None:
    config["trainer"].update(val_every_steps=2, max_steps=4, keep_best=5)
    run = compose(config).fit()
    flags = ["--trainer.monitor=val/los", "--trainer.max_steps=8", "--trainer.keep_best=1"]
    with pytest.raises(ConfigError, match=r"val/los.*no checkpoint was removed"):
        resumed(str(run.path), {}, flags)[0].fit()
    assert steps_of(run) == [2, 4, 6]


def test_a_run_at_its_end_is_told_and_keeps_all(
    config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    config["trainer"].update(max_steps=3, val_every_steps=0, monitor="val/los")
    run = compose(config).fit()
    assert "val/los is nothing that the validation reports" in capsys.readouterr().err
    assert steps_of(run) == [3]
    assert run.best().step == 3


def test_two_ranks_refuse_it_alike(shards: Path, tmp_path: Path) -> None:
    settings = {"val_every_steps": 1, "monitor": "val/los"}
    first, second = run_ranks(refused, tiny_config(shards, tmp_path / "runs", **settings), 2)
    assert first == second
    assert "did you mean 'val/loss'" in first


def test_a_metric_that_a_callback_reports_later_is_waited_for(config: dict[str, Any]) -> None:
    config["trainer"].update(val_every_steps=1, max_steps=3, monitor="val/late")
    composed = compose(config)
    composed.trainer.callbacks.insert(0, ReportsLater())
    assert steps_of(composed.fit()) == [3]


def test_texts_that_only_the_last_validation_writes_are_reported_later() -> None:
    measured = GeneratedText().values()
    assert set(GeneratedTexts(rows=0).reports_later) == {f"val/{name}" for name in measured}
    assert GeneratedTexts(rows=1).reports_later == ()


def test_a_monitor_that_no_validation_can_have_is_refused_at_once(config: dict[str, Any]) -> None:
    config["trainer"]["monitor"] = "train/loss"
    with pytest.raises(ConfigError, match=r"monitor='train/loss'.*such a one, as val/loss"):
        compose(config)
