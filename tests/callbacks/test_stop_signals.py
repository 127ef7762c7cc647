"""Ctrl-C and SIGTERM end a run after the step, with a checkpoint and the way on."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from ranks import run_ranks
from tiny import tiny_config

from roots.__main__ import main
from roots.callbacks import stability
from roots.callbacks.stop_signals import Interrupted, on_its_way_to_the_host
from roots.fit import compose
from roots.fit.command import _own_arguments
from roots.fit.compose import resumed
from roots.runs import Run, state_of

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class SignalsItself(L.Callback):
    """Sends this process a signal in the middle of a step.

    Args:
        step: The step, counted from 1.
        number: The signal.
        times: How often.
    """

    def __init__(self, *, step: int, number: int, times: int = 1) -> None:
        self.step = step
        self.number = number
        self.times = times

    def on_before_optimizer_step(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step - 1:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_run_after_the_step_with_a_checkpoint(
    config: dict, number: signal.Signals, capsys: pytest.CaptureFixture
) -> None:
    before = [signal.getsignal(n) for n in SIGNALS]
    composed = compose(config)
    composed.trainer.callbacks.insert(0, SignalsItself(step=2, number=number))
    with pytest.raises(Interrupted, match=f"Stopped at step 2 by {number.name}") as stopped:
        composed.fit()
    run = composed.trainer.run
    assert run is not None
    assert stopped.value.exit_code == 130
    assert str(stopped.value).endswith(f"roots fit --resume {run.path}")
    assert run.last().step == 2
    assert f"{number.name}: stopping after this step" in capsys.readouterr().err
    assert [signal.getsignal(n) for n in SIGNALS] == before
    on, _ = resumed(str(run.path), {}, [])  # the cure that the message names
    assert on.fit().last().step == 6


def test_a_second_ctrl_c_stops_at_once(config: dict) -> None:
    before = [signal.getsignal(n) for n in SIGNALS]
    composed = compose(config)
    composed.trainer.callbacks.insert(0, SignalsItself(step=2, number=signal.SIGINT, times=2))
    with pytest.raises(Interrupted, match=r"in the step after 1\. There is no checkpoint"):
        composed.fit()
    assert composed.trainer.run is not None
    assert composed.trainer.run.checkpoints() == []
    assert [signal.getsignal(n) for n in SIGNALS] == before


def test_the_command_ends_with_exit_code_130_and_says_how_to_go_on(
    config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    itself = {"class_path": f"{__name__}.SignalsItself", "init_args": {"step": 3, "number": 15}}
    config["trainer"]["callbacks"] = [itself]
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setattr(sys, "argv", ["roots", "fit", "--config", str(tmp_path / "run.yaml")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    said = capsys.readouterr().err.replace("\n", " ")
    assert f"--resume {tmp_path}/runs/tiny/0001" in said
    assert "Traceback" not in said
    assert Run(tmp_path / "runs" / "tiny" / "0001").last().step == 3


def test_a_run_that_nobody_stops_leaves_the_handlers_as_they_were(config: dict) -> None:
    handled = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        before = [signal.getsignal(n) for n in SIGNALS]
        compose(config).fit()
        assert [signal.getsignal(n) for n in SIGNALS] == before
    finally:
        signal.signal(signal.SIGTERM, handled)


def interrupted_rank(shards: Path, runs: Path, signalled: int, every: int) -> tuple[str, bool]:
    """Trains as one of several ranks, of which one gets a signal in its second step.

    Gives what it says, and whether its command line would say it.
    """
    composed = compose(tiny_config(shards, runs, log_every_steps=every))
    if composed.trainer.global_rank == signalled:
        composed.trainer.callbacks.insert(0, SignalsItself(step=2, number=signal.SIGTERM))
    with pytest.raises(Interrupted) as stopped:
        composed.fit()
    return str(stopped.value), stopped.value.is_told


@pytest.mark.parametrize(("signalled", "every"), [(0, 1), (1, 4)])
def test_a_signal_to_one_rank_stops_all_after_the_next_step(
    shards: Path, tmp_path: Path, signalled: int, every: int
) -> None:
    said = run_ranks(interrupted_rank, shards, tmp_path, signalled, every)
    who = ["another rank", "another rank"]
    who[signalled] = "SIGTERM"
    for (message, _), name in zip(said, who, strict=True):
        assert message.startswith(f"Stopped at step 3 by {name}.")
    assert [is_told for _, is_told in said] == [True, False]  # said once, not once by each rank
    last = Run(tmp_path / "tiny" / "0001").last()
    assert last.step == 3
    assert "val/loss" in last.metrics  # step 3 validates: measured before the stop


def ended_rank(shards: Path, runs: Path) -> int:
    """Trains as one of two ranks, of which one gets a signal in the step before the last."""
    composed = compose(tiny_config(shards, runs, max_steps=3))
    if composed.trainer.global_rank == 1:
        composed.trainer.callbacks.insert(0, SignalsItself(step=2, number=signal.SIGTERM))
    return composed.fit().last().step


def test_ranks_that_are_asked_to_stop_in_the_last_step_all_end_the_run(
    shards: Path, tmp_path: Path
) -> None:
    assert run_ranks(ended_rank, shards, tmp_path) == [3, 3]
    run = Run(tmp_path / "tiny" / "0001")
    assert state_of(run).state == "finished"
    assert "val/loss" in run.last().metrics


def interrupted_where_reading_waits(*arguments: Any) -> tuple[str, bool]:
    """The same, as on a device where a look at a number waits for it."""
    stability.reading_is_free = lambda device: False
    return interrupted_rank(*arguments)


def test_where_a_look_costs_a_wait_the_answer_is_read_two_steps_late(
    shards: Path, tmp_path: Path
) -> None:
    said = run_ranks(interrupted_where_reading_waits, shards, tmp_path, 1, 4)
    assert all(message.startswith("Stopped at step 5 by") for message, _ in said)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_number_of_a_cuda_device_arrives() -> None:
    number = torch.full((), 3.0, device="cuda")
    place, arrival = on_its_way_to_the_host(number)
    arrival.synchronize()
    assert float(place) == 3.0


def test_the_help_states_the_signals_and_the_exit_code(capsys: pytest.CaptureFixture) -> None:
    _own_arguments("fit").print_help()
    said = " ".join(capsys.readouterr().out.split())
    assert "SIGTERM and SIGUSR1 end a run after its step" in said
    assert f"exit code {Interrupted.exit_code}" in said
