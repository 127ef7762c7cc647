"""Tokens per second of training, and of nothing else."""

from __future__ import annotations

import pytest

from roots.callbacks import Throughput


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


def test_a_clock_that_stands_still_gives_a_rate_all_the_same(clock: Clock) -> None:
    assert Throughput(now=clock).lap(1) > 0
