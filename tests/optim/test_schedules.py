"""Learning rates against their formulas and their limits."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.errors import ConfigError
from roots.optim import Constant, Schedule, WarmupCosine, WarmupLinear

DECAYING = [WarmupCosine, WarmupLinear]


def factors(schedule: Schedule, total: int) -> list[float]:
    return [schedule.factor(step, total) for step in range(total)]


def test_a_constant_rate_is_the_peak_from_the_first_step_on() -> None:
    assert factors(Constant(), 5) == [1.0] * 5


@pytest.mark.parametrize("kind", [Constant, *DECAYING])
def test_the_warm_up_climbs_in_equal_strides_to_the_peak(kind: type[Constant]) -> None:
    climbed = factors(kind(warmup_steps=4), 20)[:5]
    assert climbed == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_the_cosine_is_its_formula() -> None:
    # SGDR's eq. 5: floor + (1 - floor) (1 + cos(pi t / T)) / 2, t = 0 at the peak, T at the last
    got = factors(WarmupCosine(warmup_steps=3, floor=0.2), 13)
    t_max = 13 - 1 - 3
    formula = [0.2 + 0.8 * (1 + math.cos(math.pi * t / t_max)) / 2 for t in range(t_max + 1)]
    assert got == pytest.approx([1 / 3, 2 / 3, 1.0, *formula], rel=1e-14)


def test_the_line_is_its_formula() -> None:
    got = factors(WarmupLinear(warmup_steps=2, floor=0.1), 12)
    line = [1 - 0.9 * t / 9 for t in range(10)]
    assert got == pytest.approx([0.5, 1.0, *line], rel=1e-14)


def test_half_way_the_cosine_is_the_mean_of_peak_and_floor() -> None:
    assert WarmupCosine(floor=0.1).factor(50, 101) == pytest.approx(0.55)


@given(
    kind=st.sampled_from(DECAYING),
    warmup=st.integers(0, 200),
    longer=st.integers(2, 500),
    floor=st.floats(0, 1),
)
@settings(max_examples=100, deadline=None)
def test_it_rises_then_falls_and_the_last_step_has_the_floor(
    kind: type[WarmupCosine], warmup: int, longer: int, floor: float
) -> None:
    total = warmup + longer
    rates = factors(kind(warmup_steps=warmup, floor=floor), total)
    peak = rates.index(max(rates))
    assert max(rates) == 1.0
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] == pytest.approx(floor, abs=1e-15)
    assert min(rates) > 0 or floor == 0


@pytest.mark.parametrize("kind", DECAYING)
def test_no_step_jumps_neither_at_the_end_of_the_warm_up(kind: type[WarmupCosine]) -> None:
    rates = factors(kind(warmup_steps=100, floor=0.0), 1000)
    strides = [abs(b - a) for a, b in pairwise(rates)]
    assert max(strides) <= 1 / 100 + 1e-12


@pytest.mark.parametrize("kind", DECAYING)
def test_behind_decay_steps_and_behind_the_run_the_floor_stays(kind: type[WarmupCosine]) -> None:
    schedule = kind(warmup_steps=2, floor=0.25, decay_steps=10)
    assert factors(schedule, 30)[9:] == [0.25] * 21
    assert factors(schedule, 30)[:10] == factors(kind(warmup_steps=2, floor=0.25), 10)
    assert kind(floor=0.25).factor(10**9, 30) == 0.25


@pytest.mark.parametrize("kind", DECAYING)
def test_a_floor_of_one_is_a_constant(kind: type[WarmupCosine]) -> None:
    assert factors(kind(floor=1.0), 9) == [1.0] * 9


@pytest.mark.parametrize("kind", DECAYING)
@pytest.mark.parametrize("total", [1, 2])
def test_the_shortest_runs_have_a_rate(kind: type[WarmupCosine], total: int) -> None:
    rates = factors(kind(floor=0.1), total)
    assert rates[0] == 1.0
    assert all(0.1 <= rate <= 1 for rate in rates)


@pytest.mark.parametrize("kind", [Constant, *DECAYING])
def test_a_warm_up_that_does_not_end_before_the_run_is_refused(kind: type[Constant]) -> None:
    with pytest.raises(ConfigError, match=r"warmup_steps=2,000 .* 1,000 .* at most 999") as told:
        kind(warmup_steps=2000).check(1000)
    assert "trainer.max_steps" in str(told.value)
    kind(warmup_steps=999).check(1000)  # the first cure
    kind(warmup_steps=2000).check(2001)  # the second
    kind().check(1)


@pytest.mark.parametrize("name", ["warmup_steps", "decay_steps"])
def test_a_negative_number_of_steps_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}=-3 is negative.* set 0 or more"):
        WarmupCosine(**{name: -3})
    WarmupCosine(**{name: 0})


@pytest.mark.parametrize("floor", [-0.1, 1.1])
@pytest.mark.parametrize("kind", DECAYING)
def test_a_floor_that_is_no_fraction_is_refused(kind: type[WarmupCosine], floor: float) -> None:
    with pytest.raises(ConfigError, match=rf"floor={floor:g} is not a fraction .* from 0 to 1"):
        kind(floor=floor)
    kind(floor=0)
    kind(floor=1)


@pytest.mark.parametrize("kind", DECAYING)
def test_a_decay_that_ends_before_the_warm_up_is_refused(kind: type[WarmupCosine]) -> None:
    message = r"decay_steps=100 ends before .*warmup_steps=100.* at least 101, or to 0"
    with pytest.raises(ConfigError, match=message):
        kind(warmup_steps=100, decay_steps=100)
    kind(warmup_steps=100, decay_steps=101)
    kind(warmup_steps=100, decay_steps=0)
