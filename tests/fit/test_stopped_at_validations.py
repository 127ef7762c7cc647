"""A run that is stopped where it validates loses no validation, and one at its end is ended."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from tiny import tiny_config

from roots.callbacks.stop_signals import Interrupted
from roots.cli import run as roots
from roots.fit import compose
from roots.fit.compose import resumed
from roots.runs import Run, read_metrics, state_of


class SignalsItself(L.Callback):
    """Sends this process SIGTERM in a step, and perhaps in the validation that follows.

    Args:
        step: The step, counted from 1.
        again: Whether also there.
    """

    def __init__(self, *, step: int, again: bool = False) -> None:
        self.step = step
        self.again = again

    def on_before_optimizer_step(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_validation_start(self, trainer: Any, *_: Any) -> None:
        if self.again and trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def undisturbed(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return compose(tiny_config(shards, tmp_path_factory.mktemp("undisturbed"))).fit()


def validations(run: Run) -> dict[str, str]:
    """The losses of a run's validations by their steps, as they were written."""
    return {r["step"]: r["val/loss"] for r in read_metrics(run.metrics_file) if r["val/loss"]}


def stopped(config: dict, how: SignalsItself) -> tuple[Run, str]:
    composed = compose(config)
    composed.trainer.callbacks.insert(0, how)
    with pytest.raises(Interrupted) as ended:
        composed.fit()
    assert composed.trainer.run is not None
    return composed.trainer.run, str(ended.value)


@pytest.mark.parametrize("every", [0, 4])  # with validations, or apart
def test_a_stop_in_a_step_that_validates_comes_after_the_validation(
    config: dict, undisturbed: Run, capsys: pytest.CaptureFixture, every: int
) -> None:
    config["trainer"].update(checkpoint_every_steps=every, keep_best=1 if every == 0 else 0)
    run, words = stopped(config, SignalsItself(step=3))
    assert words.startswith("Stopped at step 3 by SIGTERM.")
    assert "step 3 is saved; its validation is made first" in capsys.readouterr().err
    assert run.last().metrics["val/loss"] == float(validations(undisturbed)["3"])
    on, _ = resumed(str(run.path), {}, [])
    assert validations(on.fit()) == validations(undisturbed)


def test_a_stop_in_the_last_step_lets_the_run_end(config: dict, undisturbed: Run) -> None:
    composed = compose(config)
    composed.trainer.callbacks.insert(0, SignalsItself(step=6))
    run = composed.fit()
    assert run.last().metrics == undisturbed.last().metrics
    assert validations(run) == validations(undisturbed)
    assert state_of(run).state == "finished"


def test_a_second_signal_ends_a_validation_at_once_with_its_step_saved(
    config: dict, undisturbed: Run
) -> None:
    run, words = stopped(config, SignalsItself(step=3, again=True))
    assert words.startswith("Stopped at once, in the step after 3. Go on from the newest")
    assert (run.last().step, run.last().metrics) == (3, {})
    on, _ = resumed(str(run.path), {}, [])
    assert on.fit().last().metrics == undisturbed.last().metrics


def test_a_run_with_all_its_steps_that_did_not_end_is_validated_and_ended_by_a_resume(
    config: dict, undisturbed: Run, capsys: pytest.CaptureFixture
) -> None:
    run, _ = stopped(config, SignalsItself(step=6, again=True))
    assert (run.last().step, run.last().metrics) == (6, {})
    assert state_of(run).state == "interrupted"
    assert roots(["fit", "--resume", str(run.path)]) == 0
    assert run.last().metrics == undisturbed.last().metrics
    assert validations(run) == validations(undisturbed)
    assert state_of(run).state == "finished"
    said = capsys.readouterr().out
    assert "has all its 6 steps" not in said
    assert f"val/loss {run.last().metrics['val/loss']:.4f}" in said
    assert roots(["fit", "--resume", str(run.path)]) == 0
    assert "The run has all its 6 steps already." in capsys.readouterr().out


def test_a_resume_reads_over_a_damaged_record_of_how_the_run_ended(config: dict) -> None:
    run, _ = stopped(config, SignalsItself(step=3))
    (run.path / "state.json").write_text("{")
    on, _ = resumed(str(run.path), {}, [])
    assert on.fit().last().step == 6
    assert state_of(run).state == "finished"
