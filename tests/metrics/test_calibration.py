"""Calibration against its definition in float64, other libraries and limits."""

from __future__ import annotations

import math

import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from roots.batch import IGNORE
from roots.errors import ConfigError, DataError
from roots.evaluation.class_figures import expected_error, reliability_figure
from roots.metrics import Calibration


def made(n_rows: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(n_rows)
    logits = 2 * torch.randn(n_rows, 4, generator=generator, dtype=torch.float64)
    return logits, torch.randint(4, (n_rows,), generator=generator)


def by_definition(logits: torch.Tensor, labels: torch.Tensor, n_bins: int) -> tuple[float, float]:
    """Guo et al., eq. 3 and 5, row by row."""
    bins: dict[int, list[tuple[float, bool]]] = {}
    for row, label in zip(logits.softmax(-1).tolist(), labels.tolist(), strict=True):
        confidence = max(row)
        number = math.ceil(confidence * n_bins)
        bins.setdefault(number, []).append((confidence, row.index(confidence) == label))
    gaps = {
        number: abs(sum(right for _, right in rows) - sum(c for c, _ in rows)) / len(rows)
        for number, rows in bins.items()
    }
    ece = sum(gaps[number] * len(rows) for number, rows in bins.items()) / len(logits)
    return ece, max(gaps.values())


@pytest.mark.parametrize("n_bins", [1, 10, 15])
def test_errors_equal_their_definition(n_bins: int) -> None:
    logits, labels = made()
    metric = Calibration(n_bins=n_bins)
    metric.update(logits, labels)
    ece, mce = by_definition(logits, labels, n_bins)
    assert metric.values()["ece"] == pytest.approx(ece, rel=1e-12)
    assert metric.values()["mce"] == pytest.approx(mce, rel=1e-12)


def test_errors_equal_torchmetrics() -> None:
    logits, labels = made()
    metric = Calibration(n_bins=15)
    metric.update(logits, labels)
    for name, norm in (("ece", "l1"), ("mce", "max")):
        expected = multiclass_calibration_error(
            logits.softmax(-1), labels, num_classes=4, n_bins=15, norm=norm
        )
        assert metric.values()[name] == pytest.approx(float(expected), abs=1e-6)


def test_a_confident_liar_is_wholly_miscalibrated_and_an_honest_guess_not_at_all() -> None:
    liar, honest = Calibration(), Calibration()
    liar.update(torch.eye(4) * 100, (torch.arange(4) + 1) % 4)
    assert liar.values() == pytest.approx({"ece": 1.0, "mce": 1.0, "confidence": 1.0})
    honest.update(torch.zeros(4, 4), torch.arange(4))
    assert honest.values() == pytest.approx({"ece": 0.0, "mce": 0.0, "confidence": 0.25})


def test_the_diagram_tells_of_each_bin() -> None:
    metric = Calibration(n_bins=2)
    sure, guess = [0.0, math.log(3)], [0.0, 0.0]  # 0.75 and 0.5, which is the lower bin's edge
    metric.update(torch.tensor([sure, sure, guess]).double(), torch.tensor([1, 0, 0]))
    diagram = metric.details()["reliability"]
    assert diagram["edges"] == [0, 0.5, 1]
    assert diagram["count"] == [1, 2]
    assert diagram["confidence"] == pytest.approx([0.5, 0.75])
    assert diagram["accuracy"] == [1.0, 0.5]
    metric.reset()
    assert metric.details()["reliability"]["accuracy"] == [None, None]


def test_ignored_rows_count_for_nothing_even_when_they_are_nan() -> None:
    logits, labels = made(40)
    spoiled, some = logits.clone(), labels.clone()
    spoiled[3], some[3] = math.nan, IGNORE
    keep = torch.arange(40) != 5
    metric, plain = Calibration(), Calibration()
    metric.update(spoiled, some, keep)
    rest = [row for row in range(40) if row not in (3, 5)]
    plain.update(logits[rest], labels[rest])
    assert metric.values() == pytest.approx(plain.values(), rel=1e-12)


def test_a_label_of_no_class_is_refused_with_its_value() -> None:
    with pytest.raises(DataError, match=r"A label is 4, and the 4 classes are 0 to 3"):
        Calibration().update(torch.zeros(2, 4), torch.tensor([0, 4]))


def test_no_bins_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"n_bins=0 .* 15 is usual"):
        Calibration(n_bins=0)
    Calibration(n_bins=15)


def test_a_bin_of_numbers_that_are_not_finite_has_no_mean_and_a_page_draws_the_others() -> None:
    metric = Calibration(n_bins=2)
    metric.update(torch.tensor([[math.nan, 0.0], [0.0, 0.0]]), torch.tensor([0, 0]))
    diagram = metric.details()["reliability"]
    assert diagram["count"] == [1, 1]
    assert diagram["confidence"] == [0.5, None]
    assert math.isnan(expected_error(diagram))
    assert reliability_figure(diagram).axes
    metric.reset()
    metric.update(torch.full((3, 2), math.nan), torch.tensor([0, 0, 1]))
    assert reliability_figure(metric.details()["reliability"]).axes
