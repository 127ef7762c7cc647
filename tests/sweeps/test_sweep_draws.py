"""What grid, random and bayes try, and when a trial ends early: without a run."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from roots.errors import ConfigError
from roots.sweeps import Hyperband, Parameter, read_definition
from roots.sweeps.hyperband import read_hyperband
from roots.sweeps.metric import Metric
from roots.sweeps.parameters import TAIL
from roots.sweeps.reading import read_parameter
from roots.sweeps.sampler import distribution, n_random
from roots.sweeps.study import Study
from roots.sweeps.trial import FINISHED, PRUNED

N = 400


def study_of(parameters: dict[str, Any], method: str = "random", **more: Any) -> Study:
    content = {"config": "none.yaml", "method": method, "parameters": parameters, **more}
    return Study(read_definition(content, base={}))


def drawn(spec: dict[str, Any], n: int = N) -> list[Any]:
    """The values that a random search gives one parameter."""
    study = study_of({"x": spec})
    return [trial.values["x"] for _ in range(n) if (trial := study.ask(n))]


# -- random: each distribution against its definition ---------------------------------------------


@pytest.mark.parametrize(
    ("spec", "is_like"),
    [
        ({"min": 2.0, "max": 5.0}, stats.uniform(2, 3)),
        ({"distribution": "uniform", "min": 0, "max": 1}, stats.uniform()),
        (
            {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1},
            stats.loguniform(1e-5, 1e-1),
        ),
        (
            {"distribution": "log_uniform", "min": -3, "max": 1},
            stats.loguniform(math.exp(-3), math.exp(1)),
        ),
        (
            {"distribution": "inv_log_uniform", "min": 1, "max": 3},
            stats.loguniform(math.exp(-3), math.exp(-1)),
        ),
        (
            {"distribution": "inv_log_uniform_values", "min": 0.1, "max": 10},
            stats.loguniform(0.1, 10),
        ),
        ({"distribution": "normal", "mu": 3, "sigma": 2}, stats.norm(3, 2)),
        ({"distribution": "normal"}, stats.norm()),
        ({"distribution": "log_normal", "mu": 1, "sigma": 0.5}, stats.lognorm(0.5, scale=math.e)),
        ({"distribution": "beta", "a": 2, "b": 5}, stats.beta(2, 5)),
    ],
)
def test_a_random_search_draws_what_the_distribution_says(
    spec: dict[str, Any], is_like: Any
) -> None:
    """A Kolmogorov-Smirnov test against scipy's; the draws are the same in every session."""
    values = drawn(spec)
    assert stats.kstest(values, is_like.cdf).pvalue > 0.02
    wrong = stats.uniform(min(values), max(values) - min(values))
    if is_like.dist.name != "uniform":
        assert stats.kstest(values, wrong.cdf).pvalue < 1e-4, "the test can tell"


def test_whole_numbers_have_both_ends_and_are_equally_likely() -> None:
    counts = Counter(drawn({"min": 3, "max": 7}))
    assert set(counts) == {3, 4, 5, 6, 7}
    assert all(type(value) is int for value in counts)
    assert stats.chisquare(list(counts.values())).pvalue > 0.01


def test_choices_are_equally_likely_or_as_probable_as_told() -> None:
    even = Counter(drawn({"values": ["a", "b", "c", "d"]}))
    assert stats.chisquare([even[name] for name in "abcd"]).pvalue > 0.01
    shares = [0.1, 0.6, 0.0, 0.3]
    told = Counter(drawn({"values": ["a", "b", "c", "d"], "probabilities": shares}))
    assert told["c"] == 0
    expected = [N * 0.1, N * 0.6, N * 0.3]
    assert stats.chisquare([told[name] for name in "abd"], expected).pvalue > 0.01


def test_choices_keep_their_types_apart() -> None:
    values = [1, 1.0, True, "1", None, [1, 2], {"a": 1}]
    found = {repr(value) for value in drawn({"values": values}, 120)}
    assert found == {repr(value) for value in values}


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.1}, [n / 10 for n in range(11)]),
        ({"distribution": "q_uniform", "min": 1, "max": 9, "q": 4}, [0, 4, 8]),
        ({"distribution": "q_log_uniform_values", "min": 8, "max": 64, "q": 8}, range(8, 65, 8)),
        ({"distribution": "q_log_uniform", "min": 0, "max": 2}, range(1, 8)),
        ({"distribution": "q_normal", "q": 0.5}, [n / 2 for n in range(-10, 11)]),
        ({"distribution": "q_log_normal", "q": 2}, range(0, 100, 2)),
        ({"distribution": "q_beta", "q": 0.25}, [0.0, 0.25, 0.5, 0.75, 1.0]),
    ],
)
def test_quantised_values_are_multiples_of_q(spec: dict[str, Any], allowed: Any) -> None:
    values = set(drawn(spec))
    assert values <= set(allowed)
    assert len(values) > 2
    if isinstance(spec.get("q", 1), int):
        assert all(type(value) is int for value in values)


def test_what_a_trial_tries_depends_on_its_number_and_the_seed_alone() -> None:
    spec = {"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}}
    first, again, other = (study_of(spec, draw_seed=seed) for seed in (1, 1, 2))
    ours = [first.ask(9).values for _ in range(9)]
    assert [again.ask(9).values for _ in range(9)] == ours
    assert other.ask(9).values != ours[0]
    assert len({values["x"] for values in ours} | {values["y"] for values in ours}) == 18


@pytest.mark.parametrize("method", ["random", "grid"])
@pytest.mark.parametrize("n_written", [0, 1, 2])
def test_a_trial_that_was_killed_while_it_was_drawn_tries_what_its_number_says(
    method: str, n_written: int
) -> None:
    one, several = {"value": 3}, {"values": [1, 2, 3, 4]}
    spec = {"x": several, "c": one, "y": several, "z": several}
    if method == "random":
        spec = {**spec, "x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}}
    whole, killed = (study_of(spec, method, run_cap=9) for _ in range(2))
    expected = [whole.ask(9).values for _ in range(3)][-1]
    assert [killed.ask(9).number for _ in range(2)] == [0, 1]
    begun = killed._study.ask()
    for parameter in killed.definition.searched[:n_written]:
        begun._suggest(parameter.name, distribution(parameter, method))
    killed.note(2, owner="who was killed")
    found = killed.drawn_again(killed.trials()[2])
    assert found.values == killed.trials()[2].values == expected


def test_a_finished_trial_without_values_does_not_hide_the_importances_of_the_others() -> None:
    study = study_of({"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}})
    study.tell(study._study.ask().number, FINISHED, 1.0)
    for _ in range(10):
        trial = study.ask(40)
        study.tell(trial.number, FINISHED, trial.values["x"])
    assert study.importances().keys() == {"x", "y"}


# -- grid -----------------------------------------------------------------------------------------


def test_a_grid_tries_every_point_once_the_last_parameter_fastest() -> None:
    study = study_of(
        {
            "a": {"values": ["u", "v"]},
            "k": {"value": 7},
            "b": {"min": 1, "max": 3},
            "c": {"distribution": "q_uniform", "min": 0, "max": 0.5, "q": 0.25},
        },
        method="grid",
    )
    assert study.definition.n_trials == 18
    tried = [study.ask(18).values for _ in range(18)]
    assert study.ask(18) is None
    assert tried == [
        {"a": a, "k": 7, "b": b, "c": c}
        for a in ("u", "v")
        for b in (1, 2, 3)
        for c in (0.0, 0.25, 0.5)
    ]


def test_a_cap_cuts_a_grid_and_is_needed_elsewhere() -> None:
    spec = {"a": {"min": 1, "max": 10}}
    assert study_of(spec, "grid", run_cap=4).definition.n_trials == 4
    assert study_of(spec, "grid", run_cap=40).definition.n_trials == 10
    with pytest.raises(ConfigError, match=r"method: random never ends of itself\. Set run_cap"):
        _ = study_of(spec).definition.n_trials
    assert study_of(spec, run_cap=3).definition.n_trials == 3


def test_a_grid_of_more_points_than_a_list_holds_is_counted() -> None:
    wide = {"distribution": "q_uniform", "min": 0, "max": 10**12, "q": 0.5}
    study = study_of({"a": {"min": 5, "max": 10**12}, "b": wide}, "grid", run_cap=3)
    assert study.definition.grid_size == (10**12 - 4) * (2 * 10**12 + 1)
    assert [study.ask(3).values for _ in range(3)] == [{"a": 5, "b": b} for b in (0.0, 0.5, 1.0)]


def test_a_grid_refuses_what_is_continuous() -> None:
    with pytest.raises(ConfigError, match=r"parameters\.a has no list of values \(uniform is"):
        study_of({"a": {"min": 0.0, "max": 1.0}}, "grid")
    assert study_of({"a": {"values": [0.0, 1.0]}}, "grid").definition.n_trials == 2


# -- bayes ----------------------------------------------------------------------------------------


def bowl(rate: float, rows: float) -> float:
    """A bowl over the logarithm of one and the share of the other; 0 at (0.01, 11)."""
    return ((math.log10(rate) + 2) / 4) ** 2 + ((rows - 11) / 15) ** 2


def best_found(method: str, seed: int, n: int = 60) -> float:
    rate = {"distribution": "log_uniform_values", "min": 1e-4, "max": 1.0}
    spec = {"rate": rate, "rows": {"min": 0.0, "max": 15.0}}
    study = study_of(spec, method, draw_seed=seed, run_cap=n)
    while trial := study.ask(n):
        study.tell(trial.number, FINISHED, bowl(**trial.values))
    return min(trial.value or 0.0 for trial in study.trials())


def test_bayes_beats_random_at_equal_trials_over_ten_seeds() -> None:
    bayes = [best_found("bayes", seed) for seed in range(10)]
    random = [best_found("random", seed) for seed in range(10)]
    assert np.median(bayes) < np.median(random) / 4
    assert stats.wilcoxon(bayes, random, alternative="less").pvalue < 0.01


def test_bayes_finds_the_most_when_more_is_better() -> None:
    study = study_of(
        {"x": {"min": 0.0, "max": 1.0}},
        "bayes",
        metric={"name": "val/accuracy", "goal": "maximize"},
        run_cap=30,
    )
    while trial := study.ask(30):
        study.tell(trial.number, FINISHED, 1 - (trial.values["x"] - 0.7) ** 2)
    late = [trial.values["x"] for trial in study.trials()[20:]]
    assert abs(np.median(late) - 0.7) < 0.1


def test_bayes_begins_with_a_few_random_draws() -> None:
    assert [n_random(cap) for cap in (0, 4, 16, 24, 400)] == [10, 4, 4, 6, 10]


def test_the_importance_of_what_matters_is_larger() -> None:
    study = study_of({"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}})
    assert study.importances() == {}
    for _ in range(40):
        trial = study.ask(40)
        study.tell(trial.number, FINISHED, 3 * trial.values["x"] + 0.1 * trial.values["y"])
    shares = study.importances()
    assert list(shares) == ["x", "y"]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["x"] > 0.9


# -- early ends -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "bands"),
    [
        ({"min_iter": 3}, (3, 9, 27, 81)),
        ({"min_iter": 1, "eta": 2}, (1, 2, 4, 8)),
        ({"max_iter": 27, "s": 2}, (3, 9)),
        ({"max_iter": 27, "s": 9}, (1, 3, 9)),
        ({"max_iter": 9, "s": 2, "eta": 2}, (2, 4)),
    ],
)
def test_the_bands_are_those_of_wandbs_documentation(
    spec: dict[str, Any], bands: tuple[int, ...]
) -> None:
    assert read_hyperband({"type": "hyperband", **spec}).bands[: len(bands)] == bands


def test_only_one_in_eta_goes_on_past_a_band() -> None:
    rule = Hyperband(bands=(2,), eta=3)
    everyone = [[9.0, float(n)] for n in range(9)]
    assert [rule.stops(curve, everyone) for curve in everyone] == [False] * 4 + [True] * 5
    assert not rule.stops([100.0], [*everyone, [100.0]]), "it has not come to the band"
    assert not rule.stops([9.0, 50.0], [[9.0, 50.0]]), "it is alone there"


@pytest.mark.parametrize("strict", [False, True])
def test_a_trial_whose_metric_is_lost_ends_and_decides_nothing_about_others(strict: bool) -> None:
    """NaN has no order, so the rule sees costs: of NaN the largest there is."""
    rule, cost = Hyperband(bands=(1,), eta=3, strict=strict), Metric("val/loss").cost
    for curves in itertools.permutations([[1.0], [2.0], [9.0], [math.nan]]):
        costs = [[cost(value) for value in curve] for curve in curves]
        judged = zip(curves, costs, strict=True)
        ends = [curve[0] for curve, own in judged if rule.stops(own, costs)]
        assert sorted(map(str, ends)) == ["9.0", "nan"]
    lost = cost(math.nan)
    assert not Hyperband((2,), 3).stops([lost, 1.0], [[5.0, n] for n in (1.0, 2.0, 3.0)])
    assert not rule.stops([lost], [[lost]]), "it is alone there"


def test_strict_compares_the_value_at_the_band_itself() -> None:
    curve, everyone = [1.0, 8.0], [[5.0, 4.0], [5.0, 3.0], [5.0, 2.0], [1.0, 8.0]]
    assert not Hyperband(bands=(2,), eta=3).stops(curve, everyone)
    assert Hyperband(bands=(2,), eta=3, strict=True).stops(curve, everyone)


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_a_trial_that_falls_behind_is_told_to_end(goal: str) -> None:
    sign = 1 if goal == "minimize" else -1
    study = study_of(
        {"x": {"min": 0.0, "max": 1.0}},
        metric={"name": "val/loss", "goal": goal},
        early_terminate={"type": "hyperband", "min_iter": 2},
    )
    good, bad, broken = (study.ask(3).number for _ in range(3))
    assert not any(study.report(good, step, sign * 1.0) for step in (10, 20))
    assert not study.report(bad, 10, sign * 5.0)
    assert study.report(bad, 20, sign * 5.0)
    assert not study.report(broken, 10, math.nan)
    assert study.report(broken, 20, math.nan), "what is no number is behind everybody"
    study.tell(bad, PRUNED)
    assert [trial.state for trial in study.trials()] == ["running", "pruned", "running"]
    assert study.trials()[bad].value == sign * 5.0


def test_quantiles_leave_out_less_than_a_millionth_on_either_side() -> None:
    parameter: Parameter = read_parameter("x", {"distribution": "normal"})
    assert (parameter.low, parameter.high) == (TAIL, 1 - TAIL)
    assert parameter.extremes() == pytest.approx([-4.7534, 4.7534], abs=1e-3)


def test_a_table_whose_keys_are_numbers_is_the_one_of_the_file_when_the_study_is_opened_again(
    tmp_path: Path,
) -> None:
    choices = [{1: 0.5, 2: 0.25}, {1: 0.25}]
    content = {"config": "none.yaml", "method": "grid", "parameters": {"x": {"values": choices}}}
    definition = read_definition(content, base={})
    drawn = Study(definition, tmp_path / "study.db", "a").ask(2)
    (kept,) = Study(definition, tmp_path / "study.db", "a").trials()
    assert drawn is not None
    assert kept.values == drawn.values == {"x": choices[0]}
