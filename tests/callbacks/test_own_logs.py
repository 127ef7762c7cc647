"""What an own module or callback logs in Lightning's way is kept, found and monitored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import DeviceStatsMonitor, LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger
from ranks import run_ranks
from tiny import tiny_config

import roots
from roots.cli import run as command
from roots.evaluation.comparison.comparing import compare
from roots.fit import compose
from roots.modules import CausalLM
from roots.records import class_path
from roots.runs import load_metrics


class LogsItself(CausalLM):
    """Logs a number of each step, of each validation, and of each batch of a validation."""

    def training_step(self, batch: Any, index: int) -> None:
        super().training_step(batch, index)
        self.log("my/rate", torch.tensor(float(index)))

    def validation_step(self, batch: Any, index: int) -> None:
        super().validation_step(batch, index)
        step = self.trainer.global_step
        self.log("val/mine", torch.tensor(abs(step - 4.0)), batch_size=8)
        self.log("val/batch", torch.tensor(float(index)), on_step=True, batch_size=8)

    def test_step(self, batch: Any, index: int) -> None:
        super().validation_step(batch, index)
        self.log("test/mine", torch.tensor(0.25), batch_size=8)


class LogsOfEachStep(L.Callback):
    """Logs as Lightning's callbacks do, by the module and by the loggers."""

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        module.log("mine/step", torch.tensor(float(trainer.global_step)))
        if trainer.global_step == trainer.max_steps:
            trainer.logger.log_metrics({"mine/direct": 1.0}, step=trainer.global_step - 1)


@pytest.fixture
def own(config: dict[str, Any]) -> dict[str, Any]:
    """The tiny run with a module that logs itself."""
    config["model"]["class_path"] = f"{__name__}.LogsItself"
    return config


def test_own_logs_are_in_the_rows_of_their_steps_every_log_every_steps(
    own: dict[str, Any],
) -> None:
    own["trainer"] |= {"max_steps": 9, "val_every_steps": 4, "log_every_steps": 2}
    composed = compose(own)
    composed.trainer.callbacks.append(LogsOfEachStep())
    run = composed.fit()
    found = load_metrics(run.metrics_file)  # which refuses rows in another order
    assert "epoch" not in found.names
    assert found.series("my/rate") == ([2, 4, 6, 8, 9], [1.0, 3.0, 5.0, 7.0, 8.0])
    assert found.series("mine/step") == ([2, 4, 6, 8, 9], [2.0, 4.0, 6.0, 8.0, 9.0])
    assert found.series("val/mine") == ([4, 8, 9], [0.0, 4.0, 5.0])
    assert found.series("val/loss")[0] == [4, 8, 9]
    assert found.series("val/batch_step")[0] == [4, 8, 9]
    assert found.series("mine/direct") == ([8], [1.0])
    assert found.series("train/loss")[0] == [1, 2, 4, 6, 8, 9]


def test_verbs_that_read_runs_read_one_that_logs_itself(
    own: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run, again = compose(own).fit(), compose(own).fit()
    assert command(["list", str(run.path.parents[1])]) == 0
    assert "garbled" not in capsys.readouterr().out
    assert compare([run.path, again.path])


def test_the_monitors_of_lightning_leave_a_run_that_can_be_read_and_resumed(
    config: dict[str, Any],
) -> None:
    device = {"class_path": class_path(DeviceStatsMonitor), "init_args": {"cpu_stats": True}}
    monitors = [device, {"class_path": class_path(LearningRateMonitor)}]
    config["trainer"] |= {"log_every_steps": 2, "callbacks": monitors}
    run = compose(config).fit()
    assert {"train/loss"} < {*load_metrics(run.metrics_file).names}
    again = roots.resume(run.path, {"trainer.max_steps": 8})
    before = run.metrics_file.read_text()

    class Looks(L.Callback):
        logger: Any = None

        def on_fit_start(self, trainer: Any, module: Any) -> None:
            self.logger = trainer.logger
            assert run.metrics_file.read_text() == before

    looks = Looks()
    again.trainer.callbacks.append(looks)
    again.fit()
    assert looks.logger is again.trainer.logger
    assert list(load_metrics(run.metrics_file).rows)[-1] == 8


def test_the_logger_of_a_run_is_what_tracks_it(config: dict[str, Any]) -> None:
    composed = compose(config, {"trainer.max_steps": 3})
    run = composed.fit()
    composed.trainer.logger.experiment.log_metrics({"mine": 1.0}, step=3)
    assert load_metrics(run.metrics_file).rows[3]["mine"] == 1.0
    assert composed.trainer.log_dir == str(run.path)
    composed = compose(config, {"trainer.max_steps": 3, "trainer.tensorboard": True})
    composed.fit()
    assert isinstance(composed.trainer.logger, TensorBoardLogger)


def test_an_own_metric_says_which_checkpoint_is_best_and_when_to_stop(
    own: dict[str, Any],
) -> None:
    """It is smallest at step 4, and then grows."""
    own["trainer"] |= {"max_steps": 20, "val_every_steps": 2, "monitor": "val/mine"}
    run = compose(own, {"trainer.early_stopping": 2}).fit()
    assert [(c.step, c.metrics["val/mine"]) for c in run.checkpoints()] == [(4, 0.0), (8, 4.0)]
    assert run.best().step == 4
    measured = run.last().metrics["val/loss"]
    assert measured == load_metrics(run.metrics_file).rows[8]["val/loss"]  # in full, not float32


def test_validate_and_test_tell_what_is_logged(
    own: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    composed = compose(own)
    run = composed.fit()
    composed.data.test_dataloader = composed.data.val_dataloader
    composed.evaluate("test")
    assert composed.trainer.latest["test/mine"] == 0.25
    capsys.readouterr()
    assert command(["validate", "--run", str(run.path)]) == 0
    assert "val/mine                 4" in capsys.readouterr().out  # no step is done here


def monitored(config: dict[str, Any], ranks: int) -> list[float]:
    composed = compose(config, {"trainer.devices": ranks})

    class EachItsOwn(L.Callback):
        def on_validation_epoch_end(self, trainer: Any, module: Any) -> None:
            module.log("val/rank", torch.tensor(1.0 + trainer.global_rank))

    composed.trainer.callbacks.append(EachItsOwn())
    composed.fit()
    return [composed.trainer.latest["val/rank"]]


@pytest.mark.filterwarnings("ignore:.*sync_dist.*")
def test_two_ranks_take_the_first_ones_value(shards: Path, tmp_path: Path) -> None:
    config = tiny_config(shards, tmp_path / "runs", monitor="val/rank", max_steps=3)
    assert run_ranks(monitored, config, 2) == [[1.0], [1.0]]
