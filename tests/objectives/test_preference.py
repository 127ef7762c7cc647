"""The loss of preferred answers is its definition, and no logits are kept for it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from roots.batch import IGNORE, Score
from roots.errors import ConfigError
from roots.objectives import AnswerSums, Preference
from roots.objectives.log_probs import label_log_probs, projected_log_probs
from roots.objectives.preference import sums_from_hidden

PAIRS, TOKENS, WIDTH, IDS = 5, 11, 16, 40
SETTINGS = {
    "plain": {"beta": 0.3},
    "smoothed": {"beta": 0.3, "label_smoothing": 0.2},
    "with the chosen answer": {"beta": 0.3, "chosen_weight": 0.7},
    "all": {"beta": 0.1, "label_smoothing": 0.1, "chosen_weight": 0.2},
}


def made(dtype: torch.dtype, *, bias: bool = True) -> tuple[Tensor, nn.Linear, Tensor, Tensor]:
    """States of ragged pairs, of which the last is filler, a head, labels and a reference."""
    generator = torch.Generator().manual_seed(3)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    head = nn.Linear(WIDTH, IDS, bias=bias, dtype=dtype)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(drawn(*parameter.shape) / 2)
    labels = torch.randint(0, IDS, (PAIRS, 2, TOKENS), generator=generator)
    for pair in range(PAIRS):
        for side in range(2):
            begin = int(torch.randint(0, 5, (), generator=generator))
            end = int(torch.randint(6, TOKENS + 1, (), generator=generator))
            labels[pair, side, :begin] = labels[pair, side, end:] = IGNORE
    labels[-1] = IGNORE
    hidden = drawn(2 * PAIRS, TOKENS, WIDTH).requires_grad_()
    return hidden, head, labels, drawn(PAIRS, 2) - 8


def defined(
    hidden: Tensor, head: nn.Linear, labels: Tensor, reference: Tensor, **settings: float
) -> Tensor:
    """Equation 7, pair by pair, from the softmax of whole logits."""
    beta, smoothing = settings.get("beta", 0.1), settings.get("label_smoothing", 0.0)
    log_p = (hidden @ head.weight.T + (0 if head.bias is None else head.bias)).log_softmax(-1)
    total = hidden.new_zeros(())
    for pair in range(PAIRS):
        each = []
        for side in range(2):
            row = log_p[2 * pair + side]
            places = [t for t in range(TOKENS) if labels[pair, side, t] != IGNORE]
            each.append([row[t, labels[pair, side, t]] for t in places])
        if not each[0]:
            continue
        chosen, rejected = (torch.stack(found).sum() for found in each)
        ratio = (chosen - reference[pair, 0]) - (rejected - reference[pair, 1])
        total = total - (1 - smoothing) * torch.sigmoid(beta * ratio).log()
        total = total - smoothing * torch.sigmoid(-beta * ratio).log()
        total = total - settings.get("chosen_weight", 0.0) * chosen / len(each[0])
    return total


def gradients(loss: Tensor, hidden: Tensor, head: nn.Linear) -> list[Tensor]:
    return list(torch.autograd.grad(loss * 0.37, [hidden, *head.parameters()]))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", SETTINGS)
def test_loss_and_gradients_equal_the_definition_in_float64(name: str, bias: bool) -> None:
    hidden, head, labels, reference = made(torch.float64, bias=bias)
    expected = defined(hidden, head, labels, reference, **SETTINGS[name])
    score = Preference(**SETTINGS[name]).beside(reference).from_hidden(hidden, head, labels)
    assert int(score.n_labels) == PAIRS - 1
    torch.testing.assert_close(score.loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        gradients(score.loss, hidden, head),
        gradients(expected, hidden, head),
        rtol=1e-10,
        atol=1e-14,
    )


@pytest.mark.parametrize("rows", [1, 7, 110, 512])
def test_chunks_of_any_size_give_the_same_gradient(rows: int) -> None:
    hidden, head, labels, _ = made(torch.float64)
    flat = labels.flatten(0, 1)
    weights = torch.randn(flat.shape, generator=torch.Generator().manual_seed(5)).double()
    plain = label_log_probs(head(hidden), flat)
    ours = projected_log_probs(hidden, head.weight, head.bias, flat, rows=rows)
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        gradients((ours * weights).sum(), hidden, head),
        gradients((plain * weights).sum(), hidden, head),
        rtol=1e-10,
        atol=1e-12,
    )


def test_a_head_that_is_the_embeddings_gets_both_gradients() -> None:
    _, _, labels, reference = made(torch.float64)
    embeddings = nn.Embedding(IDS, WIDTH, dtype=torch.float64)
    head = nn.Linear(WIDTH, IDS, bias=False, dtype=torch.float64)
    head.weight = embeddings.weight
    ids = torch.arange(2 * PAIRS * TOKENS).remainder(IDS).view(2 * PAIRS, TOKENS)
    found = []
    for way in ("ours", "defined"):
        hidden = embeddings(ids).tanh()
        if way == "ours":
            loss = Preference().beside(reference).from_hidden(hidden, head, labels).loss
        else:
            loss = defined(hidden, head, labels, reference)
        found.append(torch.autograd.grad(loss, embeddings.weight)[0])
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-14)


def test_a_head_with_something_around_it_is_run_as_it_is() -> None:
    hidden, head, labels, reference = made(torch.float64)
    objective = Preference().beside(reference)
    torch.testing.assert_close(
        objective.from_hidden(hidden, nn.Sequential(head), labels),
        objective.from_hidden(hidden, head, labels),
    )


@pytest.mark.parametrize("master", [torch.float32, torch.bfloat16])
def test_bfloat16_is_as_near_to_float64_as_whole_logits(master: torch.dtype) -> None:
    hidden, head, labels, reference = made(torch.float64)
    truth = gradients(defined(hidden, head, labels, reference), hidden, head)
    apart = {}
    for way in ("plain", "fused"):
        hidden, head, labels, reference = made(master)
        objective = Preference().beside(reference.float())
        with torch.autocast("cpu", torch.bfloat16, enabled=master == torch.float32):
            if way == "plain":
                score = objective.from_logits(head(hidden), labels)
            else:
                score = objective.from_hidden(hidden, head, labels)
        assert score.loss.dtype == torch.float32
        found = gradients(score.loss, hidden, head)
        assert [g.dtype for g in found] == [master] * 3
        apart[way] = [
            float((a.double() - b).norm() / b.norm()) for a, b in zip(found, truth, strict=True)
        ]
    assert max(apart["fused"]) < 0.05
    for fused, plain in zip(apart["fused"], apart["plain"], strict=True):
        assert fused < 1.5 * plain


class Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """Remembers the largest tensor that anything made."""

    size = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        tensors = out if isinstance(out, tuple | list) else [out]
        self.size = max(self.size, *(t.numel() for t in tensors if isinstance(t, Tensor)), 0)
        return out


def test_no_tensor_of_all_logits_exists() -> None:
    hidden, head, labels, _ = made(torch.float32)
    with Largest() as seen:
        by_token = projected_log_probs(
            hidden, head.weight, head.bias, labels.flatten(0, 1), rows=10
        )
        gradients(by_token.sum(), hidden, head)
    assert seen.size == 2 * PAIRS * TOKENS * WIDTH < 2 * PAIRS * TOKENS * IDS


def test_before_training_the_loss_is_ln_2_and_there_are_no_rewards() -> None:
    hidden, head, labels, _ = made(torch.float32)
    with torch.no_grad():
        before = AnswerSums().from_hidden(hidden, head, labels).outputs
    score = Preference().beside(before).from_hidden(hidden, head, labels)
    n_pairs = PAIRS - 1
    assert score.loss.item() == pytest.approx(n_pairs * math.log(2), rel=1e-7)
    named = {name: value.item() for name, value in score.parts.items() if name != "chosen_nats"}
    assert named == {
        "accuracy": n_pairs / 2,
        "margin": 0,
        "chosen_reward": 0,
        "rejected_reward": 0,
    }


def test_parts_are_sums_over_pairs() -> None:
    hidden, head, labels, reference = made(torch.float64)
    score = Preference(beta=0.2).beside(reference).from_hidden(hidden, head, labels)
    rewards = 0.2 * (sums_from_hidden(hidden, head, labels) - reference)[:-1]
    margin = rewards[:, 0] - rewards[:, 1]
    assert 0 < int((margin > 0).sum()) < len(margin)
    assert score.parts["accuracy"].item() == int((margin > 0).sum())
    torch.testing.assert_close(score.parts["margin"], margin.sum().detach())
    torch.testing.assert_close(score.parts["chosen_reward"], rewards[:, 0].sum().detach())
    torch.testing.assert_close(score.parts["rejected_reward"], rewards[:, 1].sum().detach())
    n_tokens = (labels[:-1, 0] != IGNORE).sum(-1)
    sums = sums_from_hidden(hidden, head, labels)[:-1, 0].detach()
    torch.testing.assert_close(score.parts["chosen_nats"], (-sums / n_tokens).sum())
    assert not any(value.requires_grad for value in score.parts.values())


def test_what_filler_holds_changes_nothing() -> None:
    hidden, head, labels, reference = made(torch.float32)
    other, elsewhere = hidden.detach().clone(), reference.clone()
    other[(labels == IGNORE).flatten(0, 1)] = 1e4
    elsewhere[-1] = torch.nan
    ours, theirs = (
        Preference().beside(told).from_hidden(states, head, labels)._replace(outputs=None)
        for states, told in ((hidden, reference), (other, elsewhere))
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_without_a_reference_nothing_is_scored_and_what_to_do_is_told() -> None:
    hidden, head, labels, reference = made(torch.float32)
    with pytest.raises(ConfigError, match=r"before training, .*roots validate, test or predict"):
        Preference().from_hidden(hidden, head, labels)
    assert isinstance(Preference().beside(reference).from_hidden(hidden, head, labels), Score)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"beta": 0.0}, r"beta=0 .*above 0"),
        ({"beta": math.nan}, r"beta=nan .*above 0"),
        ({"label_smoothing": 0.5}, r"label_smoothing=0\.5 .*below 0\.5"),
        ({"label_smoothing": -0.1}, r"label_smoothing=-0\.1 .*at least 0"),
        ({"chosen_weight": -1.0}, r"chosen_weight=-1 is no weight"),
        ({"chosen_weight": math.inf}, r"chosen_weight=inf is no weight"),
    ],
)
def test_numbers_that_cannot_work_are_refused(settings: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Preference(**settings)
    Preference(beta=0.01, label_smoothing=0.49, chosen_weight=1.0)
