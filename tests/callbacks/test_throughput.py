"""Tokens per second of training, and of nothing else."""

from __future__ import annotations

import pytest
import torch

from roots.batch import TokenBatch
from roots.callbacks import Throughput, recorder
from roots.callbacks.throughput import waiter
from roots.fit import compose


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_lap_is_tokens_over_its_seconds(clock: Clock) -> None:
    throughput = Throughput(now=clock)
    clock.time += 50
    throughput.start()
    clock.time += 2
    assert throughput.lap(1000) == 500
    clock.time += 4
    assert throughput.lap(1000) == 250


def test_what_is_aside_is_left_out_of_its_own_lap_only(clock: Clock) -> None:
    throughput = Throughput(now=clock)
    clock.time += 1
    with throughput.aside():
        clock.time += 30
    with throughput.aside():
        clock.time += 10
    throughput.leave_out(5)
    clock.time += 5 + 1
    assert throughput.lap(100) == 50
    clock.time += 2
    assert throughput.lap(100) == 50


def test_time_aside_counts_also_when_the_block_fails(clock: Clock) -> None:
    throughput = Throughput(now=clock)

    def fails() -> None:
        with throughput.aside():
            clock.time += 30
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fails()
    clock.time += 1
    assert throughput.lap(10) == 10


def test_the_median_leaves_the_first_lap_out_unless_it_is_alone(clock: Clock) -> None:
    throughput = Throughput(now=clock)
    assert throughput.median == 0
    medians = []
    for seconds in (100, 1, 4, 2):
        clock.time += seconds
        throughput.lap(100)
        medians.append(throughput.median)
    assert medians == [1, 100, 62.5, 50]


def test_the_median_is_of_what_came_since_rates_were_forgotten(clock: Clock) -> None:
    throughput = Throughput(now=clock)
    for seconds in (1, 1, 1):
        clock.time += seconds
        throughput.lap(100)
    throughput.forget()
    for seconds, median in ((50, 2), (4, 25), (2, 37.5)):  # the first is left out again
        clock.time += seconds
        throughput.lap(100)
        assert throughput.median == median


def test_a_clock_that_stands_still_gives_a_rate_all_the_same(clock: Clock) -> None:
    assert Throughput(now=clock).lap(1) > 0


def test_the_steps_that_a_device_has_not_done_yet_are_training(clock: Clock) -> None:
    """The host is ahead: what it still waits for was asked for before the block."""

    def wait() -> None:
        clock.time += 3

    throughput = Throughput(now=clock, wait=wait)
    clock.time += 1
    with throughput.aside():
        clock.time += 30
    assert throughput.lap(100) == 25  # 1 second of host, 3 of device


def test_a_validation_starts_when_the_device_has_done_the_steps_before(
    config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(recorder, "waiter", lambda device: lambda: seen.append("waited"))
    composed = compose(config, {"trainer.max_steps": 3})
    leave_out, step = composed.trainer.throughput.leave_out, composed.model.validation_step

    def left_out(seconds: float) -> None:
        seen.append("left out")
        leave_out(seconds)

    def stepped(batch: TokenBatch, batch_idx: int) -> None:
        seen.append("step")
        step(batch, batch_idx)

    monkeypatch.setattr(composed.trainer.throughput, "leave_out", left_out)
    monkeypatch.setattr(composed.model, "validation_step", stepped)
    composed.fit()
    began = seen.index("step")
    assert seen[began - 1] == "waited"
    assert seen.index("left out") > began


def test_a_cpu_is_not_waited_for() -> None:
    assert waiter(torch.device("cpu"))() is None
