"""A run ends when its validations get no better, and a resumed one ends where it would have."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning import Callback
from ranks import run_ranks
from tiny import tiny_config

import roots
from roots.callbacks import Checkpoints, EarlyStopping
from roots.cli import run as command
from roots.errors import ConfigError
from roots.fit import compose
from roots.fit.compose import resumed
from roots.runs import Run, state_of


def config_of(shards: Path, runs: Path, **trainer: Any) -> dict[str, Any]:
    """A run that learns nothing: no validation is better than the first."""
    settings = {"max_steps": 20, "val_every_steps": 2, "early_stopping": 3, **trainer}
    config = tiny_config(shards, runs, **settings)
    config["model"]["init_args"]["optimizer"]["init_args"] = {
        "learning_rate": 1e-30,
        "weight_decay": 0.0,
    }
    return config


def steps_of(run: Run) -> list[int]:
    with run.metrics_file.open() as file:
        return [int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]]


def fitted(config: dict[str, Any], ranks: int) -> int:
    composed = compose(config, {"trainer.devices": ranks})
    composed.fit()
    return int(composed.trainer.global_step)


def after(values: list[float], *, patience: int, mode: str = "min") -> int:
    """The validation after which a run of such values is stopped, from 1; 0 for none."""
    stopping = EarlyStopping(patience=patience)
    for number, value in enumerate(values, 1):
        trainer: Any = SimpleNamespace(
            state=SimpleNamespace(fn="fit"),
            sanity_checking=False,
            checkpoints=Checkpoints(mode=mode),
            latest={"val/loss": value},
            global_step=number,
            max_steps=len(values) + 1,
            should_stop=False,
            say=lambda text: None,
        )
        stopping.on_validation_end(trainer, None)  # type: ignore[arg-type]
        if trainer.should_stop:
            return number
    return 0


@pytest.mark.parametrize(
    ("values", "patience", "mode", "stopped"),
    [
        ([3, 2, 1, 0.5], 1, "min", 0),
        ([3, 2, 2, 2], 2, "min", 4),  # as good is not better
        ([3, 4, 2, 5, 5, 5], 3, "min", 6),  # a better one begins anew
        ([3, 4, 5, 5, 6], 1, "max", 4),
        ([math.nan, 3, math.nan, math.nan], 2, "min", 4),
        ([math.nan, math.nan], 2, "max", 2),
    ],
)
def test_it_waits_for_a_better_value(
    values: list[float], patience: int, mode: str, stopped: int
) -> None:
    assert after(values, patience=patience, mode=mode) == stopped


def test_a_run_ends_after_so_many_validations_that_are_no_better(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import yaml

    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(config_of(shards, tmp_path / "runs")))
    assert command(["fit", "--config", str(file)]) == 0
    said = capsys.readouterr().out
    assert "stopped early: val/loss was not better than" in said
    assert "(step 2) in 3 validations" in said
    run = Run(tmp_path / "runs" / "tiny" / "0001")
    assert steps_of(run)[-1] == 8  # better after step 2, then not after 4, 6 and 8
    assert run.best().step == 2
    assert state_of(run).why.startswith("val/loss was not better than")
    books = (run.path / "state.json").read_bytes()
    assert command(["fit", "--resume", str(run.path), "--trainer.max_steps", "30"]) == 0
    told = "stopped early, after 8 of 30 steps: val/loss was not .*--trainer.early_stopping 6\\)"
    assert re.search(told, capsys.readouterr().out)
    assert (run.path / "state.json").read_bytes() == books
    printed = said.splitlines()[-1].split()
    assert printed[-2:] == ["--trainer.early_stopping", "6"]
    assert command(printed[1:]) == 0
    assert steps_of(run)[-1] == 14


def test_a_run_that_was_killed_after_its_early_stop_is_ended(shards: Path, tmp_path: Path) -> None:
    killed = compose(config_of(shards, tmp_path, early_stopping=1))

    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    killed.model.on_train_end = kill
    with pytest.raises(Killed):
        killed.fit()
    run = killed.trainer.run
    assert run is not None
    assert state_of(run).state == "failed"
    on = roots.resume(run.path)
    on.fit()
    assert state_of(run).state == "finished"
    assert on.trainer.stopped_early == state_of(run).why == killed.trainer.stopped_early
    assert steps_of(run)[-1] == 4


def test_a_run_whose_last_validation_spent_the_patience_can_be_made_longer(
    shards: Path, tmp_path: Path
) -> None:
    """It did not stop early; that the next validation is no better ends it."""
    whole = compose(config_of(shards, tmp_path, max_steps=4, early_stopping=1))
    run = whole.fit()
    assert not whole.trainer.stopped_early
    on = roots.resume(run.path, {"trainer.max_steps": 8})
    on.fit()
    assert on.trainer.global_step == 6
    assert "in 2 validations" in on.trainer.stopped_early


def test_a_run_that_goes_on_ends_where_the_uninterrupted_one_does(
    shards: Path, tmp_path: Path
) -> None:
    config = config_of(shards, tmp_path / "runs", checkpoint_every_steps=1)
    half = compose(config)

    class Killed(Exception):
        pass

    def stop(*_: Any) -> None:
        if half.trainer.global_step == 7:
            raise Killed

    half.model.on_train_batch_start = stop
    with pytest.raises(Killed):
        half.fit()
    composed, _ = resumed(str(half.trainer.run.path), {}, [])
    run = composed.fit()
    assert composed.trainer.resumed_from == 7
    assert composed.trainer.global_step == 8
    assert "in 3 validations" in composed.trainer.stopped_early
    assert run.last().step == 8


@pytest.mark.parametrize(
    ("changes", "stopped"),
    [
        ({"trainer.monitor": "val/perplexity"}, 0),  # 205 after a loss of 5.3, and falling
        ({"trainer.monitor_mode": "max"}, 10),  # the best of the two checkpoints is step 2
    ],
)
def test_a_run_that_goes_on_by_another_metric_waits_anew_for_its_best(
    changes: dict[str, Any], stopped: int, shards: Path, tmp_path: Path
) -> None:
    config = tiny_config(
        shards, tmp_path, max_steps=4, val_every_steps=2, early_stopping=3, keep_best=2
    )
    run = compose(config).fit()
    losses = [c.metrics["val/loss"] for c in run.checkpoints()]
    assert losses == sorted(losses, reverse=True)
    on = roots.resume(run.path, {"trainer.max_steps": 12, **changes})
    on.fit()
    assert on.trainer.global_step == (stopped or 12)
    if stopped:
        assert f"not better than {losses[0]:.6g} (step 2) in 3" in on.trainer.stopped_early


def test_two_ranks_end_together(shards: Path, tmp_path: Path) -> None:
    assert run_ranks(fitted, config_of(shards, tmp_path / "runs"), 2) == [8, 8]


class Late(Callback):
    """Says that the metric comes in the last validation only."""

    reports_later = ("val/accuracy",)


@pytest.mark.parametrize(
    ("callbacks", "words"),
    [
        ([], r"val/accuracy is nothing that the validation reports.*It reports val/bits_per_byte"),
        ([Late()], r"early_stopping waits for val/accuracy.*one of val/bits_per_byte, val/"),
    ],
)
def test_a_metric_that_no_validation_has_is_refused_once_the_step_is_saved(
    callbacks: list[Callback], words: str, shards: Path, tmp_path: Path
) -> None:
    config = config_of(shards, tmp_path / "runs", monitor="val/accuracy")
    composed = compose(config)
    composed.trainer.callbacks[:0] = callbacks
    with pytest.raises(ConfigError, match=words):
        composed.fit()
    assert composed.trainer.run is not None
    assert composed.trainer.run.last().step == composed.trainer.global_step > 0
    config["trainer"]["monitor"] = "val/bits_per_byte"
    composed = compose(config)
    composed.fit()
    assert composed.trainer.global_step == 8


def test_a_number_that_is_no_patience_is_refused(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="early_stopping=-1 is too small"):
        compose(config_of(shards, tmp_path / "runs", early_stopping=-1))
    with pytest.raises(
        ConfigError, match=r"early_stopping=0 would stop before the first.*1 or more"
    ):
        EarlyStopping(patience=0)


def test_a_run_that_is_to_end_early_from_now_on_knows_its_best(
    shards: Path, tmp_path: Path
) -> None:
    config = config_of(shards, tmp_path / "runs", max_steps=4, early_stopping=0)
    run = compose(config).fit()
    first = run.checkpoints()[0].metrics["val/loss"]
    on = roots.resume(run.path, {"trainer.max_steps": 20, "trainer.early_stopping": 2})
    on.fit()
    assert on.trainer.global_step == 8
    assert f"not better than {first:.6g} (step 2) in 2" in on.trainer.stopped_early
