"""A run over two devices where no command could start the second rank: at a prompt, in a notebook.

The fits are of two gloo ranks, in processes of `roots fit`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from lightning.fabric.plugins.environments.lightning import LightningEnvironment

from roots.callbacks.stop_signals import Interrupted
from roots.errors import ConfigError
from roots.fit import compose, resume
from roots.strategies.launching import ScriptLauncher

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python says of a prompt that it has one; a notebook does, too."""
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def two(config: dict[str, Any]) -> dict[str, Any]:
    """The tiny run on two devices."""
    config["trainer"] |= {"devices": 2, "progress": True, "log_every_steps": 1}
    return config


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_only_fit_starts_processes_and_another_verb_says_what_to_do(
    two: dict[str, Any], strategy: str
) -> None:
    composed = compose(two, {"trainer.strategy": strategy})
    words = (
        r"2 devices need as many processes, .* roots\.compose\(…\)\.fit\(\), .* for anything else"
        r" set trainer\.devices to 1"
    )
    with pytest.raises(ConfigError, match=words):
        composed.evaluate("validate")
    with pytest.raises(ConfigError, match="2 devices need as many processes"):
        composed.trainer.fit(composed.model, datamodule=composed.data)


def test_one_device_is_trained_on_here(config: dict[str, Any]) -> None:
    composed = compose(config, {"trainer.max_steps": 3})
    composed.fit()
    assert composed.trainer.global_step == 3


def test_one_process_leaves_nothing_that_a_later_run_of_several_would_take_for_its_own() -> None:
    launcher = ScriptLauncher(LightningEnvironment(), num_processes=1, num_nodes=1)
    before = dict(os.environ)
    assert launcher.launch(lambda number: number + 1, 6) == 7
    assert dict(os.environ) == before


def test_machines_that_nothing_tells_of_are_not_waited_for(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    launcher = compose(config, {"trainer.num_nodes": 2}).trainer.strategy.launcher
    words = r"num_nodes=2 machines .* by torchrun or SLURM .* trainer\.num_nodes to 1"
    with pytest.raises(ConfigError, match=words):
        launcher.launch(print)
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")  # who starts each machine by hand says so
    monkeypatch.setenv("NODE_RANK", "1")
    assert launcher.launch(lambda: "together") == "together"


@pytest.mark.slow
def test_what_the_processes_refuse_is_told_as_it_is(two: dict[str, Any]) -> None:
    two["data"]["init_args"]["sequences_per_step"] = 7
    composed = compose(two)
    with pytest.raises(ConfigError, match=r"^sequences_per_step=7 .*2") as refused:
        composed.fit()
    assert "roots: " not in str(refused.value)


@pytest.mark.slow
def test_ctrl_c_stops_both_ranks_after_their_step_and_leaves_their_network(
    two: dict[str, Any], tmp_path: Path
) -> None:
    two["trainer"] |= {"max_steps": 100_000, "val_every_steps": 0}
    metrics = tmp_path / "runs/tiny/0001/metrics.csv"

    def press() -> None:
        while not metrics.exists() or metrics.read_text().count("\n") < 3:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    threading.Thread(target=press, daemon=True).start()
    composed = compose(two)
    with pytest.raises(Interrupted, match=r"Stopped at step [\d,]+ by SIGINT\.") as stopped:
        composed.fit()
    assert signal.getsignal(signal.SIGINT) is before
    run = composed.trainer.run
    assert run is not None
    assert re.search(rf"step {run.last().step:,} by", str(stopped.value))
    assert json.loads((run.path / "environment.json").read_text())["hardware"]["ranks"] == 2
    assert composed.generate("the cat", max_tokens=8)
    with pytest.raises(ConfigError, match="trained already, into"):
        composed.fit()
    done = run.last().step
    on = resume(run.path, {"trainer.max_steps": done + 2, "trainer.val_every_steps": 0})
    assert on.fit().path == run.path
    assert run.last().step == done + 2
    assert on.generate("the cat", max_tokens=8)
