"""A run says how its fit ended, however it ended."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import lightning as L
import pytest

from roots.callbacks.stop_signals import Interrupted
from roots.fit import compose
from roots.fit.compose import resumed
from roots.runs import Run, list_runs, state_of
from roots.runs.state import begin, end, recorded

SECRET = "open-sesame-8457"


class Does(L.Callback):
    """Does something after a step."""

    def __init__(self, what: Any, step: int = 2) -> None:
        self.what = what
        self.step = step

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step:
            self.what()


def fails() -> None:
    raise ValueError(f"a wrong value:\n{os.environ['MY_API_KEY']}")


def test_finished_failed_and_interrupted_runs_say_so(
    config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_API_KEY", SECRET)
    seen = []
    composed = compose(config)
    runs = Path(config["trainer"]["runs_dir"])
    composed.trainer.callbacks.append(Does(lambda: seen.append(list_runs(runs)[0])))
    composed.fit()
    assert (seen[0].state, seen[0].step, seen[0].max_steps) == ("running", 2, 6)

    composed = compose(config)
    composed.trainer.callbacks.append(Does(fails))
    with pytest.raises(ValueError, match=SECRET):
        composed.fit()
    composed = compose(config)
    composed.trainer.callbacks.append(Does(lambda: os.kill(os.getpid(), signal.SIGTERM)))
    with pytest.raises(Interrupted):
        composed.fit()

    done, failed, stopped = list_runs(runs)
    assert (done.state, done.step, done.max_steps, done.why) == ("finished", 6, 6, "")
    assert (failed.state, failed.step) == ("failed", 2)
    assert failed.why == "ValueError: a wrong value: <MY_API_KEY>"
    assert stopped.state == "interrupted"
    assert stopped.why.startswith(f"Stopped at step {stopped.step} by SIGTERM")

    before = recorded(Run(stopped.path))
    on, _ = resumed(str(stopped.path), {}, [])
    on.fit()
    after = recorded(Run(stopped.path))
    assert before is not None
    assert after is not None
    assert (after.state, after.step, after.started) == ("finished", 6, before.started)
    assert after.seconds > before.seconds > 0


def test_a_fit_that_is_refused_its_directory_leaves_the_other_ones_word(config: dict) -> None:
    seen = []
    composed = compose(config, {"trainer.checkpoint_every_steps": 1})

    def another() -> None:
        on, _ = resumed(str(composed.trainer.run.path), {}, [])  # type: ignore[union-attr]
        with pytest.raises(Exception, match="in use by process"):
            on.fit()
        seen.append(state_of(composed.trainer.run).state)  # type: ignore[arg-type]

    composed.trainer.callbacks.append(Does(another, step=3))
    run = composed.fit()
    assert seen == ["running"]
    assert state_of(run).state == "finished"


def test_the_time_of_a_killed_fit_counts_until_its_last_report(tmp_path: Path) -> None:
    run = Run(tmp_path)
    begin(run, step=0, max_steps=9, now=lambda: 1000.0)
    run.metrics_file.write_text("step\n")
    os.utime(run.metrics_file, (1030.0, 1030.0))
    killed = state_of(run)
    assert (killed.state, killed.seconds) == ("interrupted", 30.0)
    begin(run, step=4, max_steps=9, now=lambda: 5000.0)
    end(run, "finished", step=9, now=lambda: 5007.0)
    assert state_of(run).seconds == 37.0
    assert state_of(run).started == 1000.0


def test_a_damaged_record_does_not_keep_a_run_from_going_on(tmp_path: Path) -> None:
    run = Run(tmp_path)
    (tmp_path / "state.json").write_text('{"state": "asleep"}')
    begin(run, step=0, max_steps=1, now=time.time)
    assert recorded(run) is not None
