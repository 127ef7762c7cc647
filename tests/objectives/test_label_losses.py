"""Losses of labels against the heads of transformers, float64 definitions and scikit-learn."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)

from roots.batch import IGNORE
from roots.errors import ConfigError
from roots.objectives import Classes, ManyClasses, Spans, Values, balanced

TINY = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
IDS = torch.arange(24).view(4, 6)


def saying(logits: Tensor) -> Any:
    return SimpleNamespace(logits=logits)


def heads() -> list[tuple[Any, Any, Any]]:
    torch.manual_seed(0)
    some = torch.randint(0, 3, (4, 6))
    some[0, 2:] = some[3] = IGNORE
    many = torch.tensor([[0.0, 1, 1], [0, 0, 0], [1, 1, 1], [1, 0, 0]])
    spans = (torch.tensor([0, 3, 2, 5]), torch.tensor([1, 5, 2, 5]))
    single = {"num_labels": 3, "problem_type": "single_label_classification"}
    several = {"num_labels": 3, "problem_type": "multi_label_classification"}
    value = {"num_labels": 1, "problem_type": "regression"}
    cases: list[tuple[Any, dict, Any, dict]] = [
        (BertForSequenceClassification, single, Classes(), {"labels": torch.tensor([0, 2, 1, 1])}),
        (BertForSequenceClassification, several, ManyClasses(), {"labels": many}),
        (BertForSequenceClassification, value, Values(), {"labels": torch.tensor([0.5, -1, 2, 3])}),
        (BertForTokenClassification, {"num_labels": 3}, Classes(), {"labels": some}),
        (
            BertForQuestionAnswering,
            {},
            Spans(),
            dict(zip(("start_positions", "end_positions"), spans, strict=True)),
        ),
    ]
    return [
        (kind(BertConfig(**TINY, **keys)).eval(), ours, labels)
        for kind, keys, ours, labels in cases
    ]


@pytest.mark.parametrize(
    ("network", "objective", "labels"), heads(), ids=lambda v: type(v).__name__
)
def test_the_mean_and_its_gradients_are_those_of_transformers_own_head(
    network: Any, objective: Any, labels: dict[str, Tensor]
) -> None:
    theirs = network(input_ids=IDS, **labels).loss
    theirs.backward()
    expected = {
        name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None
    }
    network.zero_grad()
    given = labels["labels"] if "labels" in labels else torch.stack(list(labels.values()), 1)
    score = objective(network(input_ids=IDS), given)
    (score.loss / score.n_labels).backward()
    torch.testing.assert_close(score.loss / score.n_labels, theirs, atol=1e-6, rtol=1e-6)
    for name, parameter in network.named_parameters():
        if name in expected:
            torch.testing.assert_close(parameter.grad, expected[name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("smoothing", "weights"), [(0.1, ()), (0.0, (1.0, 2.0, 0.5)), (0.2, (3, 1, 1))]
)
def test_smoothing_and_weights_are_their_definition(smoothing: float, weights: tuple) -> None:
    logits = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 2, IGNORE, 1, 1])
    expected = 0.0
    for row, label in zip(logits, labels, strict=True):
        if label == IGNORE:
            continue
        log_p = row - torch.logsumexp(row, 0)
        target = torch.full((3,), smoothing / 3, dtype=torch.float64)
        target[label] += 1 - smoothing
        expected -= float((target * log_p).sum()) * (weights[label] if weights else 1)
    score = Classes(label_smoothing=smoothing, weights=weights)(saying(logits), labels)
    assert score.loss.item() == pytest.approx(expected, rel=1e-5)
    assert score.n_labels == 4


def test_smoothing_is_that_of_torch() -> None:
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, IGNORE, 1])
    theirs = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.15)
    score = Classes(label_smoothing=0.15)(saying(logits), labels)
    torch.testing.assert_close(score.loss / score.n_labels, theirs)


@pytest.mark.parametrize(
    ("objective", "logits", "labels"),
    [
        (Classes(label_smoothing=0.1), torch.randn(3, 2), torch.full((3,), IGNORE)),
        (ManyClasses(), torch.randn(3, 2), torch.full((3, 2), math.nan)),
        (Values(), torch.randn(3, 1), torch.full((3,), math.nan)),
    ],
)
def test_rows_without_labels_cost_nothing_and_move_nothing(
    objective: Any, logits: Tensor, labels: Tensor
) -> None:
    logits = logits.requires_grad_()
    score = objective(saying(logits), labels)
    score.loss.backward()
    assert score.loss == score.n_labels == 0
    assert not logits.grad.any()


def test_a_uniform_guess_costs_log_c() -> None:
    score = Classes()(saying(torch.zeros(7, 5)), torch.arange(7) % 5)
    assert (score.nats / score.n_labels).item() == pytest.approx(math.log(5))


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    utils = pytest.importorskip("sklearn.utils.class_weight")
    labels = np.array([0] * 5 + [1] * 2 + [2] * 13)
    theirs = utils.compute_class_weight("balanced", classes=np.arange(3), y=labels)
    ours = balanced(labels, 3)
    assert ours == pytest.approx(theirs.tolist())
    assert np.mean([ours[label] for label in labels]) == pytest.approx(1)
    assert balanced(labels, 4) == [*ours, 1.0]  # one that no row has


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"label_smoothing=1 is not a share.*0\.1 is common"):
        Classes(label_smoothing=1.0)
    with pytest.raises(ConfigError, match=r"\[1\.0, 0\.0\] are not all numbers above 0"):
        Classes(weights=(1.0, 0.0))
    for odd in (math.inf, math.nan):
        with pytest.raises(ConfigError, match="not all numbers above 0"):
            Classes(weights=(1.0, odd))
    Classes(label_smoothing=0.1, weights=(1.0, 0.5))
