"""The next-token loss against its definition in float64, torch, and limits."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roots.batch import IGNORE
from roots.errors import ConfigError
from roots.objectives import NextToken, next_token_nats

V = 11


def a_batch(dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits of two rows of five positions, three of which have no label."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 5, V, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, V, (2, 5), generator=generator)
    labels[0, 4] = labels[1, 0] = labels[1, 3] = IGNORE
    return logits.to(dtype), labels


def by_definition(
    logits: Tensor, labels: Tensor, smoothing: float = 0.0, z_loss: float = 0.0
) -> tuple[float, float, int]:
    """Loss, nats and count, position by position, in Python's floats."""
    loss = nats = 0.0
    count = 0
    rows = zip(logits.flatten(0, -2).tolist(), labels.flatten().tolist(), strict=True)
    for row, label in rows:
        if label == IGNORE:
            continue
        log_z = math.log(math.fsum(math.exp(x) for x in row))
        log_p = [x - log_z for x in row]
        target = [smoothing / len(row)] * len(row)
        target[label] += 1 - smoothing
        nats -= log_p[label]
        loss -= math.fsum(q * lp for q, lp in zip(target, log_p, strict=True))
        loss += z_loss * log_z**2
        count += 1
    return loss, nats, count


def test_the_worked_example_costs_0_7803_nats_per_token() -> None:
    # (-log 0.7 - log 0.3) / 2 = (0.3567 + 1.2040) / 2; a book prints 0.4463 for these
    # probabilities, which the formula beside it does not give
    p = torch.tensor([[[0.1, 0.7, 0.2], [0.3, 0.4, 0.3]]], dtype=torch.float64)
    nats, n_labels = next_token_nats(p.log(), torch.tensor([[1, 0]]))
    assert (nats / n_labels).item() == pytest.approx(0.7803, abs=5e-5)
    assert (nats / n_labels).item() == pytest.approx(-(math.log(0.7) + math.log(0.3)) / 2)


@pytest.mark.parametrize("vocabulary", [2, 64, 50_257])
def test_a_uniform_guess_costs_log_v(vocabulary: int) -> None:
    nats, n_labels = next_token_nats(
        torch.full((1, 3, vocabulary), -4.2), torch.ones(1, 3, dtype=torch.long)
    )
    assert (nats / n_labels).item() == pytest.approx(math.log(vocabulary), rel=1e-6)


def test_the_nats_are_the_definition_and_leave_out_the_ignored() -> None:
    logits, labels = a_batch()
    nats, n_labels = next_token_nats(logits, labels)
    _, expected, count = by_definition(logits, labels)
    assert (n_labels.item(), n_labels.dtype) == (count, torch.int64)
    assert count == 7
    assert nats.item() == pytest.approx(expected, rel=1e-12)


def test_what_stands_at_an_ignored_position_changes_nothing() -> None:
    logits, labels = a_batch()
    other = logits.clone()
    other[labels == IGNORE] = 1e4
    objective = NextToken(label_smoothing=0.1, z_loss=1e-2)
    ours, theirs = objective.from_logits(logits, labels), objective.from_logits(other, labels)
    assert [s.item() for s in ours[:3]] == [s.item() for s in theirs[:3]]


@pytest.mark.parametrize(
    ("smoothing", "z_loss"), [(0.1, 0.0), (0.0, 1e-2), (0.3, 1e-4), (0.9, 1.0)]
)
def test_the_regularised_loss_is_its_definition(smoothing: float, z_loss: float) -> None:
    logits, labels = a_batch()
    score = NextToken(label_smoothing=smoothing, z_loss=z_loss).from_logits(logits, labels)
    loss, nats, count = by_definition(logits, labels, smoothing, z_loss)
    assert score.loss.item() == pytest.approx(loss, rel=1e-12)
    assert score.nats.item() == pytest.approx(nats, rel=1e-12)
    assert score.n_labels.item() == count


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_label_smoothing_is_torchs(smoothing: float) -> None:
    logits, labels = a_batch()
    score = NextToken(label_smoothing=smoothing).from_logits(logits, labels)
    torchs = F.cross_entropy(
        logits.flatten(0, 1),
        labels.flatten(),
        ignore_index=IGNORE,
        label_smoothing=smoothing,
        reduction="sum",
    )
    torch.testing.assert_close(score.loss, torchs, rtol=1e-12, atol=0)


def test_the_nats_stay_plain_whatever_is_optimized() -> None:
    logits, labels = a_batch()
    plain = NextToken().from_logits(logits, labels)
    score = NextToken(label_smoothing=0.2, z_loss=0.1).from_logits(logits, labels)
    assert score.nats.item() == plain.nats.item() == plain.loss.item()
    assert score.loss.item() > score.nats.item()


def test_the_nats_carry_no_gradient_and_the_loss_does() -> None:
    logits, labels = a_batch()
    score = NextToken().from_logits(logits.requires_grad_(), labels)
    assert score.loss.requires_grad
    assert not score.nats.requires_grad


@pytest.mark.parametrize(("smoothing", "z_loss"), [(0.0, 0.0), (0.1, 0.0), (0.0, 0.1), (0.1, 0.1)])
def test_the_gradient_is_that_of_finite_differences(smoothing: float, z_loss: float) -> None:
    logits, labels = a_batch()
    objective = NextToken(label_smoothing=smoothing, z_loss=z_loss)
    assert torch.autograd.gradcheck(
        lambda x: objective.from_logits(x, labels).loss, logits.requires_grad_()
    )


def test_the_gradient_of_the_nats_is_softmax_minus_one_hot() -> None:
    logits, labels = a_batch()
    next_token_nats(logits.requires_grad_(), labels)[0].backward()
    labelled = (labels != IGNORE)[..., None]
    expected = (logits.detach().softmax(-1) - F.one_hot(labels.clamp(min=0), V)) * labelled
    torch.testing.assert_close(logits.grad, expected)


@pytest.mark.parametrize(("smoothing", "z_loss"), [(0.0, 0.0), (0.1, 1e-2)])
def test_no_label_at_all_gives_zero_and_a_zero_gradient(smoothing: float, z_loss: float) -> None:
    logits, _ = a_batch()
    labels = torch.full((2, 5), IGNORE)
    objective = NextToken(label_smoothing=smoothing, z_loss=z_loss)
    score = objective.from_logits(logits.requires_grad_(), labels)
    score.loss.backward()
    assert [s.item() for s in score[:3]] == [0, 0, 0]
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_the_sums_of_two_halves_add_up_to_the_whole() -> None:
    logits, labels = a_batch()
    objective = NextToken(label_smoothing=0.1, z_loss=1e-3)
    whole = objective.from_logits(logits, labels)
    halves = [objective.from_logits(logits[i : i + 1], labels[i : i + 1]) for i in (0, 1)]
    for name in ("loss", "nats", "n_labels"):
        total = sum(getattr(half, name).item() for half in halves)
        assert total == pytest.approx(getattr(whole, name).item(), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_logits_are_summed_in_float32(dtype: torch.dtype) -> None:
    # 4,096 positions of about 8 nats: a sum in bfloat16 would stand still at 2,048
    logits = torch.randn(1, 4096, 3000, generator=torch.Generator().manual_seed(0)).to(dtype)
    labels = torch.arange(4096)[None] % 3000
    score = NextToken(z_loss=1e-4).from_logits(logits, labels)
    exact = NextToken(z_loss=1e-4).from_logits(logits.double(), labels)
    assert (score.loss.dtype, score.nats.dtype) == (torch.float32, torch.float32)
    assert score.nats.item() == pytest.approx(exact.nats.item(), rel=1e-5)
    assert score.loss.item() == pytest.approx(exact.loss.item(), rel=1e-5)


def test_hidden_states_and_a_head_score_as_their_logits_do() -> None:
    torch.manual_seed(0)
    _, labels = a_batch()
    hidden, head = torch.randn(2, 5, 8), nn.Linear(8, V, bias=False)
    ours = NextToken().from_hidden(hidden, head, labels)
    theirs = NextToken().from_logits(hidden @ head.weight.T, labels)
    torch.testing.assert_close(ours.loss, theirs.loss)


@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5])
def test_a_label_smoothing_that_is_no_share_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match=rf"label_smoothing={value:g} .* less than 1; 0\.1"):
        NextToken(label_smoothing=value)
    NextToken(label_smoothing=0.1)  # the cure
    NextToken(label_smoothing=0.0)


@pytest.mark.parametrize("weight", [-0.5, math.inf, math.nan])
def test_a_z_loss_that_is_no_weight_is_refused(weight: float) -> None:
    words = rf"z_loss={weight:g} would reward .* 0 \(off\) or 1e-4"
    with pytest.raises(ConfigError, match=words):
        NextToken(z_loss=weight)
    NextToken(z_loss=1e-4)  # the cure
    NextToken(z_loss=0.0)
