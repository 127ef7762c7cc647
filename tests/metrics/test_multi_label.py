"""MultiLabel against scikit-learn and its limits."""

from __future__ import annotations

import math

import pytest
import torch

from roots.batch import IGNORE
from roots.errors import ConfigError, DataError
from roots.metrics import MultiLabel

NAMES = ["red", "round", "sweet"]


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("n_rows", [2, 100])
def test_values_equal_scikit_learns(n_rows: int, threshold: float) -> None:
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    generator = torch.Generator().manual_seed(n_rows)
    logits = torch.randn(n_rows, 3, generator=generator)
    labels = torch.randint(2, (n_rows, 3), generator=generator)
    metric = MultiLabel(names=NAMES, threshold=threshold)
    metric.update(logits, labels.float())
    values = metric.values()
    given, truth = (logits.sigmoid() > threshold).long().numpy(), labels.numpy()
    assert values["subset_accuracy"] == pytest.approx(sklearn.accuracy_score(truth, given))
    occurs = (truth + given).sum(0) > 0
    settings = {"average": "micro", "zero_division": 0}
    in_all = sklearn.precision_recall_fscore_support(truth, given, **settings)
    settings = {"average": None, "zero_division": 0}
    of_each = sklearn.precision_recall_fscore_support(truth, given, **settings)
    for number, quantity in enumerate(("precision", "recall", "f1")):
        assert values[f"{quantity}_micro"] == pytest.approx(in_all[number])
        assert values[f"{quantity}_macro"] == pytest.approx(of_each[number][occurs].mean())
        for name, expected, there in zip(NAMES, of_each[number], occurs, strict=True):
            value = values[f"{quantity}/{name}"]
            assert value == pytest.approx(expected) if there else math.isnan(value)


def test_perfect_predictions_score_one_and_only_wrong_ones_zero() -> None:
    labels = torch.tensor([[1, 0, 1], [0, 1, 0]])
    for sign, score in ((1, 1.0), (-1, 0.0)):
        metric = MultiLabel(names=NAMES)
        metric.update(sign * (labels * 2.0 - 1), labels)
        assert set(metric.values().values()) == {score}


def test_unknown_cells_and_rows_that_are_not_kept_count_for_nothing() -> None:
    logits = torch.tensor([[1.0, 1.0, -1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    labels = torch.tensor([[1, IGNORE, 0], [IGNORE] * 3, [0, 0, 0]])
    metric = MultiLabel(names=NAMES)
    metric.update(logits, labels, torch.tensor([True, True, False]))
    values = metric.values()
    assert values["subset_accuracy"] == values["f1_micro"] == values["f1/red"] == 1
    assert math.isnan(values["f1/round"])
    assert metric.rows.tolist() == [1, 1]


def test_a_probability_at_the_threshold_predicts_nothing() -> None:
    metric = MultiLabel(names=NAMES)
    metric.update(torch.zeros(1, 3), torch.zeros(1, 3))
    assert metric.values()["subset_accuracy"] == 1


def test_a_label_that_is_no_yes_or_no_is_refused_with_row_name_and_value() -> None:
    metric = MultiLabel(names=NAMES)
    labels = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
    with pytest.raises(DataError, match=r"Row 1 .* 2 as its label 'sweet'"):
        metric.update(torch.zeros(2, 3), labels)
    labels[1, 2] = 1
    metric.update(torch.zeros(2, 3), labels)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -3.0])
def test_a_threshold_that_decides_nothing_is_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match=rf"threshold={threshold:g} .* 0.5 is usual"):
        MultiLabel(names=NAMES, threshold=threshold)
    MultiLabel(names=NAMES, threshold=0.5)
