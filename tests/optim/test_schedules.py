"""Learning rates against their formulas and their limits."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.errors import ConfigError
from roots.optim import Constant, Schedule, WarmupCosine, WarmupLinear, WarmupStableDecay

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


@pytest.mark.parametrize("kind", DECAYING)
def test_a_decay_that_ends_before_a_warm_up_by_share_does_is_refused(
    kind: type[WarmupCosine],
) -> None:
    schedule = kind(warmup_fraction=0.5, decay_steps=20)
    schedule.check(38)
    with pytest.raises(ConfigError, match=r"decay_steps=20 ends before .*warmup_steps=50"):
        schedule.check(100)


# -- warm-up, stable, decay --------------------------------------------------------------------

SHAPES = {
    "1-sqrt": lambda x: 1 - math.sqrt(x),
    "linear": lambda x: 1 - x,
    "cosine": lambda x: (1 + math.cos(math.pi * x)) / 2,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_last_steps_decay_by_their_formula(shape: str) -> None:
    # Hägele et al.: f(n, N, N_decay), with x = (n - (N - N_decay)) / N_decay for step n of 1 to N
    got = factors(WarmupStableDecay(warmup_steps=2, decay_steps=4, shape=shape, floor=0.1), 10)
    decay = [0.1 + 0.9 * SHAPES[shape](x) for x in (0.25, 0.5, 0.75, 1.0)]
    assert got == pytest.approx([0.5, 1.0, 1.0, 1.0, 1.0, 1.0, *decay], rel=1e-14)


@pytest.mark.parametrize(
    ("fraction", "total", "length"), [(0.0, 100, 20), (0.1, 100, 10), (0.25, 10, 2), (0.01, 10, 1)]
)
def test_a_fraction_is_a_share_of_the_run_and_at_least_one_step(
    fraction: float, total: int, length: int
) -> None:
    rates = factors(WarmupStableDecay(decay_fraction=fraction), total)
    assert sum(rate < 1 for rate in rates) == length
    assert rates[-1] == 0


@given(
    shape=st.sampled_from(list(SHAPES)),
    warmup=st.integers(0, 100),
    stable=st.integers(0, 300),
    decay=st.integers(1, 300),
    floor=st.floats(0, 1),
)
@settings(max_examples=100, deadline=None)
def test_it_rises_stays_and_falls_to_the_floor(
    shape: str, warmup: int, stable: int, decay: int, floor: float
) -> None:
    schedule = WarmupStableDecay(warmup_steps=warmup, decay_steps=decay, shape=shape, floor=floor)
    total = warmup + stable + decay
    schedule.check(total)
    rates = factors(schedule, total)
    first, middle, last = rates[:warmup], rates[warmup : warmup + stable], rates[warmup + stable :]
    assert first == sorted(first)
    assert set(middle) <= {1.0}
    assert last == sorted(last, reverse=True)
    assert rates[-1] == pytest.approx(floor, abs=1e-15)
    assert all(0 <= rate <= 1 for rate in rates)
    assert schedule.factor(10 * total, total) == rates[-1]


@given(
    warmup=st.integers(0, 50),
    decay=st.integers(1, 50),
    shorter=st.integers(1, 100),
    longer=st.integers(0, 400),
)
@settings(max_examples=100, deadline=None)
def test_before_the_decay_the_rate_does_not_know_the_length_of_the_run(
    warmup: int, decay: int, shorter: int, longer: int
) -> None:
    schedule = WarmupStableDecay(warmup_steps=warmup, decay_steps=decay)
    total = warmup + shorter + decay
    common = total - decay
    assert factors(schedule, total)[:common] == factors(schedule, total + longer)[:common]


@given(warmup=st.integers(0, 500), fraction=st.floats(0.01, 0.99), total=st.integers(1, 400))
@settings(max_examples=200, deadline=None)
def test_what_does_not_fit_is_refused_with_the_shortest_run_that_does(
    warmup: int, fraction: float, total: int
) -> None:
    schedule = WarmupStableDecay(warmup_steps=warmup, decay_fraction=fraction)
    length = max(round(fraction * total), 1)
    if warmup + length <= total:
        schedule.check(total)
        return
    with pytest.raises(ConfigError, match=rf"warmup_steps={warmup:,} .* {length:,} steps") as told:
        schedule.check(total)
    cure = int(re.search(r"at least ([\d,]+) steps", str(told.value))[1].replace(",", ""))  # type: ignore[index]
    schedule.check(cure)
    with pytest.raises(ConfigError):
        schedule.check(cure - 1)


def test_a_decay_longer_than_the_run_is_refused_and_each_cure_works() -> None:
    message = r"warmup_steps=10 and the 95 steps .* run's 100 steps.* at least 105 steps \(trainer"
    with pytest.raises(ConfigError, match=message):
        WarmupStableDecay(warmup_steps=10, decay_steps=95).check(100)
    WarmupStableDecay(warmup_steps=10, decay_steps=95).check(105)
    WarmupStableDecay(warmup_steps=5, decay_steps=95).check(100)
    WarmupStableDecay(warmup_steps=10, decay_steps=90).check(100)


def test_two_lengths_are_refused_and_either_alone_is_taken() -> None:
    with pytest.raises(ConfigError, match=r"decay_steps=10 and decay_fraction=0\.1 both .* to 0"):
        WarmupStableDecay(decay_steps=10, decay_fraction=0.1)
    WarmupStableDecay(decay_steps=10, decay_fraction=0)
    WarmupStableDecay(decay_steps=0, decay_fraction=0.1)


@pytest.mark.parametrize("bad", [1.0, -0.1])
def test_a_fraction_that_leaves_nothing_before_it_is_refused(bad: float) -> None:
    with pytest.raises(ConfigError, match=rf"decay_fraction={bad:g} .*at least 0 and less than 1"):
        WarmupStableDecay(decay_fraction=bad)
    WarmupStableDecay(decay_fraction=0.99)


def test_a_decay_of_negative_length_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"decay_steps=-3 is negative"):
        WarmupStableDecay(decay_steps=-3)
    WarmupStableDecay(decay_steps=1)


def test_an_unknown_shape_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no shape 'lineer' \(did you mean 'linear'\?\)"):
        WarmupStableDecay(shape="lineer")
    for shape in SHAPES:
        WarmupStableDecay(shape=shape)


def test_a_floor_of_the_stable_decay_that_is_no_fraction_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"floor=1\.5 is not a fraction"):
        WarmupStableDecay(floor=1.5)
    WarmupStableDecay(floor=1.0)


@pytest.mark.parametrize("kind", [Constant, WarmupCosine, WarmupLinear, WarmupStableDecay])
def test_a_warm_up_by_share_is_that_of_its_steps(kind: type) -> None:
    by_share, by_steps = kind(warmup_fraction=0.06), kind(warmup_steps=12)
    assert [by_share.factor(n, 200) for n in range(200)] == [
        by_steps.factor(n, 200) for n in range(200)
    ]
    by_share.check(200)


def test_two_lengths_of_the_warm_up_or_more_than_the_run_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"warmup_steps=5 and warmup_fraction=0\.1 both say"):
        WarmupLinear(warmup_steps=5, warmup_fraction=0.1)
    with pytest.raises(ConfigError, match=r"Set warmup_fraction to at most 0\.4"):
        WarmupStableDecay(warmup_fraction=0.5, decay_fraction=0.6)
    WarmupStableDecay(warmup_fraction=0.4, decay_fraction=0.6).check(100)


@pytest.mark.parametrize(("share", "total"), [(1.0, 10), (0.96, 10), (0.75, 2)])
@pytest.mark.parametrize("kind", [Constant, *DECAYING])
def test_a_share_that_fills_the_whole_run_is_refused(
    kind: type[Constant], share: float, total: int
) -> None:
    words = rf"warmup_fraction={share:g}, {total} steps, does not end before the run's {total} s"
    with pytest.raises(ConfigError, match=rf"{words}.* to at most {total - 1},"):
        kind(warmup_fraction=share).check(total)
    kind(warmup_steps=total - 1).check(total)


@pytest.mark.parametrize("kind", [Constant, *DECAYING])
def test_a_warm_up_that_is_no_share_of_the_steps_is_refused(kind: type[Constant]) -> None:
    with pytest.raises(ConfigError, match=r"warmup_fraction=5 is not a fraction of the run's st"):
        kind(warmup_fraction=5)
