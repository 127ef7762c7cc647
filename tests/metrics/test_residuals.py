"""How far predicted numbers are off, against numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from roots.errors import ConfigError
from roots.metrics import Residuals


def numbers(n: int = 137, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions, labels, and row numbers in no order."""
    rng = np.random.default_rng(seed)
    labels = rng.normal(size=n).round(1)
    return labels * 0.7 + rng.normal(size=n), labels, rng.permutation(n)


def test_the_details_are_their_definitions_however_the_rows_come() -> None:
    predicted, labels, samples = numbers()
    metric = Residuals(n=5)
    for part in np.array_split(np.arange(len(labels)), [3, 3, 90]):
        metric.update(*(torch.from_numpy(all_of[part]) for all_of in (predicted, labels, samples)))
    found = metric.details()["numbers"]
    errors = predicted - labels
    assert found["rows"] == 137
    assert found["pearson"] == pytest.approx(stats.pearsonr(predicted, labels)[0])
    assert found["spearman"] == pytest.approx(stats.spearmanr(predicted, labels)[0])
    assert (found["mean"], found["deviation"]) == pytest.approx((errors.mean(), errors.std()))
    order = samples.argsort()
    assert found["label"] == labels[order].tolist()
    assert found["predicted"] == pytest.approx(predicted[order])
    count, edges = np.histogram(errors, 30)
    assert found["count"] == count.tolist()
    assert found["edges"] == pytest.approx(edges)
    worst = np.abs(errors).argsort()[::-1][:5]
    assert [row["sample"] for row in found["largest"]] == samples[worst].tolist()
    told = [row["predicted"] - row["label"] for row in found["largest"]]
    assert told == pytest.approx(errors[worst])


def test_of_many_rows_some_are_drawn_and_all_are_counted() -> None:
    predicted, labels, samples = numbers(1000)
    metric = Residuals(n_points=300)
    metric.update(*map(torch.from_numpy, (predicted, labels, samples)))
    found = metric.details()["numbers"]
    assert found["label"] == labels[samples.argsort()][::4].tolist()
    assert (found["rows"], sum(found["count"])) == (1000, 1000)


def test_rows_without_a_label_count_for_nothing_and_a_constant_has_no_correlation() -> None:
    metric = Residuals()
    labels = torch.tensor([1.0, torch.nan, 3.0])
    metric.update(torch.ones(3), labels, torch.arange(3), keep=~labels.isnan())
    found = metric.details()["numbers"]
    assert (found["rows"], found["label"], found["mean"]) == (2, [1.0, 3.0], -1.0)
    assert (found["pearson"], found["spearman"]) == (None, None)
    assert Residuals().details() == {}
    assert Residuals().values() == {}


def test_equal_errors_and_numbers_that_are_none_have_a_picture_too() -> None:
    metric = Residuals()
    metric.update(torch.tensor([2.0, torch.inf]), torch.tensor([1.0, 1.0]), torch.arange(2))
    found = metric.details()["numbers"]
    assert (found["rows"], sum(found["count"])) == (1, 1)
    assert found["edges"][0] < 1.0 < found["edges"][-1]


def test_nothing_to_keep_is_refused() -> None:
    with pytest.raises(ConfigError, match="n=0 and n_points=5"):
        Residuals(n=0, n_points=5)
