"""A run is trained once; `roots.resume` goes on with it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

import roots
from roots.callbacks.stop_signals import Interrupted
from roots.errors import ConfigError
from roots.fit import Trainer, compose
from roots.fit.apart import refuse_changes
from roots.fit.closing import closing
from roots.runs import load_metrics, state_of


class StopsOnce(L.Callback):
    """Gets a signal after a step.

    Args:
        step: The step.
    """

    def __init__(self, *, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


def rows_of(path: Path) -> dict[int, Any]:
    return load_metrics(path / "metrics.csv").rows


def test_a_second_fit_is_refused_leaves_the_books_and_resume_goes_on(
    config: dict[str, Any],
) -> None:
    composed = compose(config)
    run = composed.fit()
    before = run.metrics_file.read_text()
    words = rf"trained already, into {run.path}\. Go on with roots\.resume\('{run.path}'\)"
    with pytest.raises(ConfigError, match=words):
        composed.fit()
    with pytest.raises(ConfigError, match="trained already"):
        composed.trainer.fit(composed.model, datamodule=composed.data)
    assert run.metrics_file.read_text() == before
    on = roots.resume(run.path, {"trainer.max_steps": 8})
    assert on.fit().path == run.path
    assert list(rows_of(run.path)) == [1, 2, 3, 4, 5, 6, 7, 8]
    steps = {float(state["step"]) for state in on.trainer.optimizers[0].state.values()}
    assert steps == {8.0}


def test_resume_says_what_is_changed(
    config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run = compose(config).fit()
    roots.resume(str(run.path), {"trainer.max_steps": 8})
    assert "changed at resume: trainer.max_steps: 6 → 8\n" in capsys.readouterr().err


@pytest.mark.parametrize("step", [2, 3])
def test_a_stopped_run_goes_on_to_the_losses_of_one_that_was_not_stopped(
    config: dict[str, Any], step: int
) -> None:
    """Step 3 has a validation behind it, in which a network is not in training."""
    whole = rows_of(compose(config).fit().path)
    composed = compose(config)
    composed.trainer.callbacks.insert(0, StopsOnce(step=step))
    with pytest.raises(Interrupted, match="roots fit --resume"):
        composed.fit()
    assert composed.trainer.run is not None
    with pytest.raises(ConfigError, match="trained already"):
        composed.fit()
    rows = rows_of(roots.resume(composed.trainer.run.path).fit().path)
    assert [row["train/loss"] for row in rows.values()] == [
        row["train/loss"] for row in whole.values()
    ]


class Ends(L.Callback):
    """Does what Lightning's Timer does: after a step, or with 0 before the first."""

    def __init__(self, *, step: int) -> None:
        self.step = step

    def on_fit_start(self, trainer: L.Trainer, *_: Any) -> None:
        trainer.should_stop = self.step == 0

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        trainer.should_stop = trainer.should_stop or trainer.global_step >= self.step


def test_a_run_that_a_callback_ended_says_so_and_goes_on(config: dict[str, Any]) -> None:
    ended = compose(config)
    ended.trainer.callbacks.append(Ends(step=2))
    run = ended.fit()
    why = "a callback ended it after 2 of 6 steps"
    assert (state_of(run).state, state_of(run).why) == ("finished", why)
    assert why in closing(run, ended, 1.0)
    again = roots.resume(run.path)
    again.trainer.callbacks.append(Ends(step=0))
    again.fit()
    assert f"{why}, before a first one was made. To go on" in closing(run, again, 1.0)
    assert state_of(run).why == why
    on = roots.resume(run.path)
    on.fit()
    assert (state_of(run).state, state_of(run).step, state_of(run).why) == ("finished", 6, "")
    assert closing(run, on, 1.0).endswith(" --trainer.max_steps 12")


def test_a_prompt_is_told_the_line_that_goes_on(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.ps1", ">>> ", raising=False)
    composed = compose(config)
    composed.trainer.callbacks.insert(0, StopsOnce(step=3))
    with pytest.raises(Interrupted) as stopped:
        composed.fit()
    assert composed.trainer.run is not None
    assert f"(here: roots.resume('{composed.trainer.run.path}').fit())" in str(stopped.value)


def test_a_trainer_forgets_a_signal_of_before(config: dict[str, Any]) -> None:
    composed = compose(config)
    for callback in composed.trainer.callbacks:
        if hasattr(callback, "_received"):
            callback._received = "SIGINT"
    composed.fit()
    assert composed.trainer.global_step == 6


def test_a_network_that_was_left_evaluating_is_trained_as_any(config: dict[str, Any]) -> None:
    composed = compose(config)
    composed.evaluate("validate")
    composed.model.eval()

    class Looks(L.Callback):
        modes: list[bool] = []

        def on_train_batch_start(self, _: Any, module: Any, *__: Any) -> None:
            self.modes.append(module.trainable.network.training)

    composed.trainer.callbacks.append(Looks())
    composed.fit()
    assert Looks.modes == [True] * 6


def test_a_fit_that_was_refused_before_its_first_step_may_be_tried_again(
    config: dict[str, Any],
) -> None:
    composed = compose(config)
    whole, composed.data.seq_len = composed.data.seq_len, 65
    with pytest.raises(ConfigError, match="65"):
        composed.fit()
    composed.data.seq_len = whole
    assert composed.fit().last().step == 6


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict"])
def test_a_loader_where_a_data_module_belongs_is_refused_with_what_to_give(
    config: dict[str, Any], verb: str
) -> None:
    composed = compose(config)
    with pytest.raises(ConfigError, match=r"no data module.*datamodule=.*StepData"):
        getattr(composed.trainer, verb)(composed.model, DataLoader([torch.zeros(2)]))


def test_a_module_or_data_module_of_lightning_is_refused_by_name(config: dict[str, Any]) -> None:
    from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel

    composed = compose(config)
    with pytest.raises(ConfigError, match="BoringDataModule where a trainer of roots needs"):
        composed.trainer.fit(composed.model, datamodule=BoringDataModule())
    trainer = Trainer(max_steps=2, accelerator="cpu", progress=False)
    with pytest.raises(ConfigError, match="BoringModel is no module of roots"):
        trainer.fit(BoringModel(), datamodule=composed.data)


def at_a_prompt(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, **more: Any) -> Any:
    """A run over two devices, put together where `fit` takes processes of their own."""
    monkeypatch.setattr("sys.ps1", ">>> ", raising=False)
    return compose(config, {"trainer.devices": 2, **more})


def test_changes_that_processes_would_not_learn_of_are_refused_by_name(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = at_a_prompt(config, monkeypatch)
    composed.trainer.callbacks.append(StopsOnce(step=1))
    composed.model.micro_batch_size = 1
    composed.trainer.log_every_steps = 7
    with pytest.raises(ConfigError) as refused:
        composed.fit()
    for words in (
        "model.micro_batch_size: 4 → 1",
        "trainer.log_every_steps: 1 → 7",
        "StopsOnce was added to trainer.callbacks",
        "{'model.micro_batch_size': 1}",
    ):
        assert words in str(refused.value)
    refuse_changes(at_a_prompt(config, monkeypatch, **{"model.micro_batch_size": 1}))


def test_a_class_of_the_notebook_is_refused_with_where_to_define_it(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = at_a_prompt(config, monkeypatch)
    composed.config["trainer"]["callbacks"] = [{"class_path": "__main__.Mine", "init_args": {}}]
    with pytest.raises(ConfigError, match=r"cannot import __main__\.Mine.*Define it in a file"):
        composed.fit()
