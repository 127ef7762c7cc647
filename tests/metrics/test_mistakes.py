"""The surest mistakes against a plain loop over the rows."""

from __future__ import annotations

import pytest
import torch

from roots.batch import IGNORE
from roots.errors import ConfigError
from roots.metrics import Mistakes


def made(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(len(shape))
    logits = 2 * torch.randn(*shape, 3, generator=generator)
    labels = torch.randint(3, shape, generator=generator)
    labels[::5] = IGNORE
    return logits, labels


def by_definition(logits: torch.Tensor, labels: torch.Tensor, n: int) -> list[tuple]:
    """Softmax in float64, row by row and place by place; the row's number is 100 and its place."""
    found = []
    for row in range(len(labels)):
        pairs = zip(logits[row].reshape(-1, 3), labels[row].reshape(-1).tolist(), strict=True)
        for place, (scores, label) in enumerate(pairs):
            chances = scores.double().softmax(-1).tolist()
            predicted = chances.index(max(chances))
            if label not in (IGNORE, predicted):
                found.append((max(chances), 100 + row, place, label, predicted))
    return sorted(found, reverse=True)[:n]


@pytest.mark.parametrize("shape", [(40,), (12, 7)])
@pytest.mark.parametrize("n", [4, 500])
def test_they_are_the_wrong_ones_of_highest_probability(shape: tuple[int, ...], n: int) -> None:
    logits, labels = made(*shape)
    samples = 100 + torch.arange(shape[0])
    metric = Mistakes(n=n)
    for part in (slice(0, 5), slice(5, None)):
        metric.update(logits[part], labels[part], samples[part])
    told = metric.details()["mistakes"]
    expected = by_definition(logits, labels, n)
    assert len(told) == len(expected) > 0
    names = ("sample", "place", "label", "predicted")
    assert [tuple(each[name] for name in names) for each in told] == [e[1:] for e in expected]
    assert [each["confidence"] for each in told] == pytest.approx([e[0] for e in expected])
    assert metric.values() == {}


def test_what_is_right_or_left_out_is_none() -> None:
    logits = torch.tensor([[3.0, 0.0], [0.0, 3.0], [3.0, 0.0]])
    metric = Mistakes()
    keep = torch.tensor([True, True, False])
    metric.update(logits, torch.tensor([0, IGNORE, 1]), torch.arange(3), keep)
    assert metric.details() == {"mistakes": []}
    metric.update(logits, torch.tensor([0, 0, 1]), torch.arange(3), keep)
    assert [each["sample"] for each in metric.details()["mistakes"]] == [1]
    metric.reset()
    assert metric.details() == {"mistakes": []}


def test_keeping_none_is_refused_and_one_works() -> None:
    with pytest.raises(ConfigError, match="n=0 keeps no mistakes"):
        Mistakes(n=0)
    assert Mistakes(n=1).details() == {"mistakes": []}


def test_what_is_not_a_number_does_not_push_out_the_surest() -> None:
    logits = torch.tensor([[float("nan"), 0.0], [0.0, 3.0], [1.0, 0.0]])
    metric = Mistakes(n=1)
    metric.update(logits, torch.tensor([1, 0, 1]), torch.arange(3))
    assert [each["sample"] for each in metric.details()["mistakes"]] == [1]
