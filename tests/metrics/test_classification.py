"""Classification against scikit-learn, the definition and its limits."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from roots.batch import IGNORE
from roots.errors import DataError
from roots.metrics import Classification
from roots.metrics.classification import matthews

NAMES = ["a", "b", "c", "d", "e"]


def measure(predictions: Tensor, labels: Tensor, **settings: object) -> dict[str, float]:
    metric = Classification(names=NAMES, **settings)
    metric.update(predictions, labels)
    return metric.values()


@pytest.mark.filterwarnings("ignore:A single label was found:UserWarning")  # scikit-learn's
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("n_rows", [1, 4, 200])
def test_values_equal_scikit_learns(n_rows: int, seed: int) -> None:
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (n_rows,), generator=generator)  # the fifth class is no label
    predictions = torch.randint(seed % 4 + 1, (n_rows,), generator=generator)
    values = measure(predictions, labels)
    truth, given = labels.tolist(), predictions.tolist()
    assert values["accuracy"] == pytest.approx(sklearn.accuracy_score(truth, given))
    assert values["mcc"] == pytest.approx(sklearn.matthews_corrcoef(truth, given))
    settings = {"average": "macro", "zero_division": 0}
    of_means = sklearn.precision_recall_fscore_support(truth, given, **settings)
    for quantity, expected in zip(("precision", "recall", "f1"), of_means, strict=False):
        assert values[f"{quantity}_macro"] == pytest.approx(expected)
    settings = {"average": None, "labels": range(5), "zero_division": 0}
    of_classes = sklearn.precision_recall_fscore_support(truth, given, **settings)
    for number, name in enumerate(NAMES):
        for quantity, expected in zip(("precision", "recall", "f1"), of_classes, strict=False):
            if number in truth + given:
                assert values[f"{quantity}/{name}"] == pytest.approx(expected[number])
            else:
                assert math.isnan(values[f"{quantity}/{name}"])


def test_matthews_equals_the_sum_over_triples_of_classes() -> None:
    table = torch.tensor([[5, 2, 0], [1, 7, 3], [4, 0, 6]])
    rows, n = table.tolist(), 3
    covered = [
        rows[k][k] * rows[m][p] - rows[p][k] * rows[k][m]
        for k in range(n)
        for p in range(n)
        for m in range(n)
    ]
    labelled = [sum(row) for row in rows]
    predicted = [sum(column) for column in zip(*rows, strict=True)]
    total = sum(labelled)
    spread = [sum(c * (total - c) for c in counts) for counts in (labelled, predicted)]
    expected = sum(covered) / math.sqrt(spread[0] * spread[1])
    assert matthews(table) == pytest.approx(expected, rel=1e-14)


def test_matthews_of_billions_of_rows_does_not_overflow() -> None:
    small = torch.tensor([[50, 20], [10, 70]])
    assert matthews(small * 10**9) == pytest.approx(matthews(small), rel=1e-12)


def test_perfect_predictions_score_one() -> None:
    values = measure(torch.arange(5), torch.arange(5))
    assert set(values.values()) == {1.0}


def test_only_wrong_predictions_score_zero_and_correlate_negatively() -> None:
    values = measure(torch.tensor([1, 2, 3, 4, 0]), torch.arange(5))
    assert values.pop("mcc") == pytest.approx(-0.25)
    assert set(values.values()) == {0.0}


def test_one_class_for_all_rows_correlates_with_nothing() -> None:
    values = measure(torch.zeros(10, dtype=torch.long), torch.arange(10) % 5)
    assert values["mcc"] == 0
    assert values["accuracy"] == pytest.approx(0.2)
    assert values["recall/a"] == 1
    assert values["precision/b"] == values["f1/b"] == 0


def test_a_class_that_does_not_occur_is_nan_and_in_no_mean() -> None:
    values = measure(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]))
    assert all(math.isnan(values[f"{q}/c"]) for q in ("precision", "recall", "f1"))
    assert values["f1_macro"] == pytest.approx(float(Fraction(2, 3)))
    assert values["precision_macro"] == pytest.approx(0.75)


def test_the_greatest_score_decides() -> None:
    scores = torch.tensor([[0.0, 2.0, 1.0, 0.0, 0.0], [3.0, 2.0, 1.0, 0.0, 0.0]])
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        assert measure(scores.to(dtype), torch.tensor([1, 4]))["accuracy"] == 0.5


def test_tokens_are_measured_like_rows() -> None:
    scores = torch.randn(3, 4, 5)
    labels = torch.randint(5, (3, 4))
    assert measure(scores, labels) == measure(scores.flatten(0, 1), labels.flatten())


def test_ignored_labels_and_rows_that_are_not_kept_count_for_nothing() -> None:
    labels = torch.tensor([0, IGNORE, 1, 2, 3])
    predictions = torch.tensor([0, 99, 2, 2, -1])
    metric = Classification(names=NAMES)
    metric.update(predictions, labels, torch.tensor([True, True, True, True, False]))
    plain = Classification(names=NAMES)
    plain.update(torch.tensor([0, 2, 2]), torch.tensor([0, 1, 2]))
    assert metric.details() == plain.details()
    assert metric.details()["confusion"]["counts"][1] == [0, 0, 1, 0, 0]


def test_the_values_of_each_class_can_be_left_out() -> None:
    values = measure(torch.arange(5), torch.arange(5), each_class=False)
    assert set(values) == {"accuracy", "precision_macro", "recall_macro", "f1_macro", "mcc"}


def test_numbers_of_any_integer_type_are_taken() -> None:
    numbers = torch.arange(5, dtype=torch.int32)
    assert measure(numbers, numbers.long())["accuracy"] == 1
    assert measure(numbers, numbers.short())["accuracy"] == 1


@pytest.mark.parametrize(("label", "prediction", "what"), [(5, 0, "label"), (0, 7, "prediction")])
def test_a_number_of_no_class_is_refused_with_its_value(
    label: int, prediction: int, what: str
) -> None:
    metric = Classification(names=NAMES)
    labels, predictions = torch.tensor([1, label]), torch.tensor([1, prediction])
    told = f"A {what} is {max(label, prediction)}, and the 5 classes are 0 to 4"
    with pytest.raises(DataError, match=told):
        metric.update(predictions, labels)
    labels[1] = IGNORE
    metric.update(predictions, labels)
    assert metric.values()["accuracy"] == 1


def test_more_scores_than_classes_are_refused_when_one_of_them_wins() -> None:
    with pytest.raises(DataError, match=r"A prediction is 5"):
        measure(torch.eye(6), torch.zeros(6, dtype=torch.long))


def test_unequal_shapes_are_never_broadcast() -> None:
    unchecked = Classification.update.__wrapped__
    with pytest.raises(RuntimeError, match=r"stack expects each tensor to be equal size"):
        unchecked(Classification(names=NAMES), torch.zeros(3).long(), torch.zeros(1).long())
