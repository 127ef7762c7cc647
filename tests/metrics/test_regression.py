"""Regression against scipy, the definition and its limits."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from torch import Tensor

from roots.metrics import Regression
from roots.metrics.regression import ranks


def measure(predictions: Tensor, labels: Tensor, keep: Tensor | None = None) -> dict[str, float]:
    metric = Regression()
    metric.update(predictions, labels, keep)
    return metric.values()


def made(n_rows: int, *, ties: bool) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n_rows)
    numbers = torch.randn(2, n_rows, generator=generator, dtype=torch.float64)
    numbers[1] += numbers[0]
    return tuple(numbers.round(decimals=0 if ties else 9))


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("n_rows", [5, 60, 999])
def test_values_equal_scipys(n_rows: int, ties: bool) -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    one, other = made(n_rows, ties=ties)
    values = measure(one, other)
    assert values["pearson"] == pytest.approx(stats.pearsonr(one, other).statistic, rel=1e-12)
    assert values["spearman"] == pytest.approx(stats.spearmanr(one, other).statistic, rel=1e-12)
    assert values["mse"] == pytest.approx(float(((one - other) ** 2).mean()), rel=1e-14)
    assert ranks(one).tolist() == stats.rankdata(one).tolist()


def test_values_equal_the_standard_librarys_and_ranks_their_definition() -> None:
    one, other = (t.tolist() for t in made(40, ties=True))

    def ranked(numbers: list[float]) -> list[float]:
        return [sum(n < m for n in numbers) + (numbers.count(m) + 1) / 2 for m in numbers]

    values = measure(*made(40, ties=True))
    expected = statistics.correlation(one, other)
    assert values["pearson"] == pytest.approx(expected, rel=1e-12)
    expected = statistics.correlation(ranked(one), ranked(other))
    assert values["spearman"] == pytest.approx(expected, rel=1e-12)


def test_a_rising_curve_has_equal_ranks_and_a_falling_one_opposite() -> None:
    labels = torch.linspace(0.0, 5.0, 20)
    assert measure(labels.exp(), labels)["spearman"] == 1
    assert measure(-labels, labels)["pearson"] == pytest.approx(-1)
    assert measure(labels, labels) == {"pearson": 1.0, "spearman": 1.0, "mse": 0.0}


def test_a_large_offset_does_not_spoil_the_correlation() -> None:
    one, other = made(60, ties=False)
    shifted = measure(one + 1e9, other)
    assert shifted["pearson"] == pytest.approx(measure(one, other)["pearson"], rel=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, 3.3])
def test_a_constant_correlates_with_nothing(constant: float) -> None:
    values = measure(torch.full((7,), constant), torch.arange(7.0))
    assert math.isnan(values["pearson"])
    assert math.isnan(values["spearman"])
    assert values["mse"] > 0


def test_nan_is_passed_on() -> None:
    values = measure(torch.tensor([1.0, math.nan, 2.0]), torch.tensor([1.0, 2.0, 3.0]))
    assert all(math.isnan(value) for value in values.values())


def test_rows_that_are_not_kept_count_for_nothing() -> None:
    keep = torch.tensor([True, False, True, True])
    values = measure(torch.tensor([1.0, 99.0, 2.0, 4.0]), torch.tensor([1.0, 0.0, 3.0, 4.0]), keep)
    assert values == measure(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 3.0, 4.0]))


def test_low_precision_is_added_up_in_float64() -> None:
    one, other = (t.bfloat16() for t in made(60, ties=False))
    assert measure(one, other) == measure(one.double(), other.double())
