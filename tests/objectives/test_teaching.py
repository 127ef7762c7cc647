"""A teacher's word beside the labels: its loss and gradients are those of the definition."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roots.batch import IGNORE, Score
from roots.errors import ConfigError
from roots.objectives import Classes, Listener, ManyClasses, NextToken, Spans, Teaching, Values
from roots.objectives.masked_token import MaskedToken, row_places
from roots.objectives.projected import Weights, projected_loss
from roots.objectives.teaching import Heard, softened

ALPHA, T = 0.3, 2.5


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def linear(width: int, seed: int, dtype: torch.dtype = torch.float64, n: int = 40) -> nn.Linear:
    layer = nn.Linear(width, n, dtype=dtype)
    with torch.no_grad():
        layer.weight.copy_(drawn(n, width, seed=seed))
        layer.bias.copy_(drawn(n, seed=seed + 1))
    return layer


def made(dtype: torch.dtype = torch.float64) -> tuple[Tensor, nn.Linear, Tensor, Heard]:
    """A student's states and head, labels, a seventh of them missing, and a wider teacher."""
    hidden = drawn(1, 45, 16, seed=1, dtype=dtype).requires_grad_()
    labels = torch.randint(0, 40, (1, 45), generator=torch.Generator().manual_seed(2))
    labels[:, ::7] = IGNORE
    heard = Heard(drawn(45, 24, seed=3, dtype=dtype), linear(24, 4, dtype))
    return hidden, linear(16, 6, dtype), labels, heard


def definition(logits: Tensor, said: Tensor, there: Tensor) -> Tensor:
    """T² · Σ q · (log q - log p), by probabilities, of the rows that are there."""
    p, q = (each / T for each in (logits, said))
    p, q = (each.exp() / each.exp().sum(-1, keepdim=True) for each in (p, q))
    return T**2 * (q * (q / p).log()).sum(-1)[there].sum()


def gradients(loss: Tensor, *of: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, of))


@pytest.mark.parametrize("rows", [8, 45, 512])
@pytest.mark.parametrize("weights", [{}, {"label_smoothing": 0.1, "z_loss": 1e-2}])
def test_loss_and_gradients_are_those_of_the_definition(rows: int, weights: dict) -> None:
    hidden, head, labels, heard = made()
    leaves = (hidden, head.weight, head.bias)
    hard = NextToken(kernel="plain", **weights).from_hidden(hidden, head, labels).loss
    there = labels[0] != IGNORE
    soft = definition(head(hidden)[0], heard(slice(None)), there)
    expected = (1 - ALPHA) * hard + ALPHA * soft
    loss, _, *parts = projected_loss(
        hidden,
        head.weight,
        head.bias,
        labels,
        weights=Weights(**weights),
        teaching=Teaching(heard, ALPHA, T),
        rows=rows,
    )
    same = (head(hidden)[0].argmax(-1) == heard(slice(None)).argmax(-1))[there].sum()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.stack(parts), torch.stack([hard, soft, same.double()]))
    torch.testing.assert_close(
        gradients(loss * 0.37, *leaves), gradients(expected * 0.37, *leaves), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("kernel", ["fused", "plain"])
def test_both_kernels_are_near_the_definition_in_float32(kernel: str) -> None:
    exact, single = made(), made(torch.float32)
    teaching = [Teaching(each[3], ALPHA, T) for each in (exact, single)]
    found = []
    for (hidden, head, labels, _), taught in zip((exact, single), teaching, strict=True):
        score = NextToken(kernel=kernel).beside(taught).from_hidden(hidden, head, labels)
        found.append([score.loss, *gradients(score.loss, hidden, head.weight)])
    for ours, theirs in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(ours, theirs.float(), rtol=2e-5, atol=1e-4)


def test_bfloat16_products_stay_near() -> None:
    exact, low = made(), made(torch.float32)
    found = []
    for (hidden, head, labels, _), on in ((exact, False), (low, True)):
        with torch.autocast("cpu", torch.bfloat16, enabled=on):
            again = Heard(drawn(45, 24, seed=3).to(hidden.dtype), linear(24, 4, hidden.dtype))
            objective = NextToken().beside(Teaching(again, ALPHA, T))
            score = objective.from_hidden(hidden, head, labels)
        found.append([score.loss, *gradients(score.loss, hidden, head.weight)])
    for ours, theirs in zip(found[1], found[0], strict=True):
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_a_student_that_is_its_teacher_has_nothing_to_learn_of_it() -> None:
    hidden, head, labels, _ = made(torch.float32)
    teaching = Teaching(Heard(hidden.detach()[0], head), 1.0, T)
    for kernel in ("fused", "plain"):
        score = NextToken(kernel=kernel).beside(teaching).from_hidden(hidden, head, labels)
        assert score.loss == 0
        assert score.parts["agreement"] == (labels != IGNORE).sum()
        for gradient in gradients(score.loss, hidden, head.weight):
            torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-5)


def test_with_alpha_0_the_labels_alone_are_learned_bit_by_bit() -> None:
    hidden, head, labels, heard = made(torch.float32)
    for kernel in ("fused", "plain"):
        plain = NextToken(kernel=kernel).from_hidden(hidden, head, labels)
        advised = NextToken(kernel=kernel).beside(Teaching(heard, 0.0, T))
        score = advised.from_hidden(hidden, head, labels)
        assert score.loss == plain.loss
        ours, theirs = (gradients(s.loss, hidden, head.weight) for s in (score, plain))
        assert all(map(torch.equal, ours, theirs))


def test_no_more_than_a_chunk_of_logits_is_ever_made() -> None:
    hidden, head, labels, _ = made(torch.float32)
    hidden, labels = (each.repeat(1, 40, *[1] * (each.dim() - 2)) for each in (hidden, labels))
    asked: list[int] = []

    class Counted(Heard):
        def __call__(self, rows: Any) -> Tensor:
            logits = super().__call__(rows)
            asked.append(len(logits))
            return logits

    heard = Counted(drawn(45 * 40, 24, seed=3, dtype=torch.float32), linear(24, 4, torch.float32))
    NextToken().beside(Teaching(heard, ALPHA, T)).from_hidden(hidden, head, labels)
    assert sum(asked) == 45 * 40
    assert max(asked) == 512


@pytest.mark.slow
def test_the_compiled_fused_loss_is_the_same() -> None:
    hidden, head, labels, heard = made(torch.float32)
    found = []
    for compiled in (False, True):
        objective = NextToken(compiled=compiled).beside(Teaching(heard, ALPHA, T))
        score = objective.from_hidden(hidden, head, labels)
        found.append([score.loss, *gradients(score.loss, hidden, head.weight)])
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-4)


def test_hidden_tokens_are_compared_at_their_own_places() -> None:
    hidden, head, labels, heard = made()
    labels = labels.masked_fill(torch.arange(45)[None] % 4 > 0, IGNORE)
    places = torch.from_numpy(row_places(labels.numpy()))
    expected = NextToken().beside(Teaching(heard, ALPHA, T)).from_hidden(hidden, head, labels)
    objective = MaskedToken().beside(Teaching(heard, ALPHA, T))
    for score in (
        objective.from_hidden(hidden, head, labels, places),
        objective.from_hidden(hidden, head, labels),
        objective.from_logits(head(hidden), labels),
    ):
        torch.testing.assert_close(score.loss, expected.loss)
        torch.testing.assert_close(score.parts, expected.parts, check_dtype=False)
    with torch.no_grad():
        assert objective.from_hidden(hidden, head, labels, places).outputs is not None


# -- tasks -----------------------------------------------------------------------------------------


def scored(objective: Any, output: Any, said: Any, labels: Tensor, t: float = T) -> Score:
    return objective.beside(Teaching(said, ALPHA, t))(output, labels)


def logits_of(*shape: int, seed: int) -> SimpleNamespace:
    return SimpleNamespace(logits=drawn(*shape, seed=seed, dtype=torch.float32).requires_grad_())


def test_classes_are_compared_as_distributions() -> None:
    for shape in ((6, 5), (6, 4, 5)):  # of texts, of tokens
        ours, theirs = logits_of(*shape, seed=1), logits_of(*shape, seed=2)
        labels = torch.randint(0, 5, shape[:-1], generator=torch.Generator().manual_seed(3))
        labels.flatten()[::3] = IGNORE
        score = scored(Classes(), ours, theirs, labels)
        there = labels != IGNORE
        soft = definition(ours.logits.double(), theirs.logits.double(), there)
        hard = F.cross_entropy(ours.logits.double()[there], labels[there], reduction="sum")
        expected = (1 - ALPHA) * hard + ALPHA * soft
        torch.testing.assert_close(score.loss.double(), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(
            gradients(score.loss, ours.logits), gradients(expected.float(), ours.logits)
        )
        same = (ours.logits.argmax(-1) == theirs.logits.argmax(-1))[there].sum()
        assert score.parts["agreement"] == same


def test_several_classes_are_compared_each_by_itself() -> None:
    ours, theirs = logits_of(6, 5, seed=1), logits_of(6, 5, seed=2)
    labels = (drawn(6, 5, seed=3) > 0).float()
    labels[1] = torch.nan
    p, q = (torch.sigmoid(each.logits.double() / T) for each in (ours, theirs))
    each = q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()
    soft = T**2 * each[~labels.isnan()].sum()
    score = scored(ManyClasses(), ours, theirs, labels)
    torch.testing.assert_close(score.parts["soft_loss"].double(), soft, rtol=1e-5, atol=1e-6)
    same = ((p > 0.5) == (q > 0.5))[~labels.isnan()].sum()
    assert score.parts["agreement"] == same


def test_of_a_value_the_distance_to_the_teachers_is_learned() -> None:
    ours, theirs = logits_of(6, 1, seed=1), logits_of(6, 1, seed=2)
    labels = drawn(6, seed=3, dtype=torch.float32)
    labels[2] = torch.nan
    score = scored(Values(), ours, theirs, labels, t=1.0)
    apart = (ours.logits - theirs.logits)[:, 0].square()
    torch.testing.assert_close(score.parts["soft_loss"], apart[~labels.isnan()].sum())
    assert "agreement" not in score.parts
    with pytest.raises(ConfigError, match=r"temperature=2\.5.*distiller\.temperature to 1"):
        scored(Values(), ours, theirs, labels)


def test_places_that_no_answer_can_have_count_for_nothing() -> None:
    filled = torch.arange(9)[None] >= torch.tensor([9, 7, 5])[:, None]

    def spans(seed: int) -> SimpleNamespace:
        start, end = drawn(2, 3, 9, seed=seed, dtype=torch.float32)
        start, end = (
            each.masked_fill(filled, -torch.inf).requires_grad_() for each in (start, end)
        )
        return SimpleNamespace(start_logits=start, end_logits=end)

    ours, theirs = spans(1), spans(2)
    labels = torch.tensor([[1, 3], [0, 0], [2, IGNORE]])
    score = scored(Spans(), ours, theirs, labels)
    soft = 0.0
    for row, length in enumerate((9, 7, 5)):
        for side, name in enumerate(("start_logits", "end_logits")):
            if labels[row, side] != IGNORE:
                both = [getattr(o, name)[row, :length].double()[None] for o in (ours, theirs)]
                soft += definition(*both, torch.tensor([True])).item()
    assert score.parts["soft_loss"].item() == pytest.approx(soft, rel=1e-5)
    for gradient in gradients(score.loss, ours.start_logits, ours.end_logits):
        assert gradient.isfinite().all()


def test_a_teacher_that_is_certain_costs_the_students_surprise() -> None:
    """The limit: of a teacher with one possible answer the divergence is the cross-entropy."""
    certain = torch.full((3, 5), -torch.inf)
    certain[:, 2] = 0
    student = drawn(3, 5, seed=1, dtype=torch.float32)
    soft, _, _ = softened(student, certain, 1.0)
    torch.testing.assert_close(soft, -student.log_softmax(-1)[:, 2])


def test_a_listener_keeps_what_it_hears_and_makes_the_teachers_own_logits() -> None:
    hidden, head, labels, _ = made()
    listener = Listener()
    listener.from_hidden(hidden, head, labels)
    torch.testing.assert_close(listener.heard(slice(3, 9)), head(hidden)[0, 3:9])
    listener.from_logits(head(hidden), labels)
    torch.testing.assert_close(listener.heard(torch.tensor([4, 2])), head(hidden)[0, [4, 2]])
