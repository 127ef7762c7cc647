"""Projection and loss in one equal the projection, then the loss."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roots.batch import IGNORE, Score
from roots.errors import ConfigError, MissingExtra
from roots.objectives import NextToken
from roots.objectives.projected import Weights, projected_loss

WEIGHTS = {
    "plain": {},
    "smoothed": {"label_smoothing": 0.1},
    "z-loss": {"z_loss": 1e-2},
    "both": {"label_smoothing": 0.2, "z_loss": 1e-3},
}


def made(dtype: torch.dtype, *, bias: bool, n: int = 45) -> tuple[Tensor, nn.Linear, Tensor]:
    """States of `n` positions, a head of 40 tokens, and labels, a seventh of them missing."""
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(1, n, 16, generator=generator, dtype=torch.float64).to(dtype)
    head = nn.Linear(16, 40, bias=bias, dtype=dtype)
    with torch.no_grad():
        for parameter in head.parameters():
            drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(drawn)
    labels = torch.randint(0, 40, (1, n), generator=generator)
    labels[:, ::7] = IGNORE
    return hidden.requires_grad_(), head, labels


def gradients(score: Score, hidden: Tensor, head: nn.Linear) -> list[Tensor]:
    wanted = [t for t in (hidden, *head.parameters()) if t.requires_grad]
    return list(torch.autograd.grad(score.loss * 0.37, wanted))


def by(hidden: Tensor, head: nn.Linear, labels: Tensor, rows: int, **weights: float) -> Score:
    loss, nats = projected_loss(
        hidden, head.weight, head.bias, labels, weights=Weights(**weights), rows=rows
    )
    return Score(loss, nats, (labels != IGNORE).sum())


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("rows", [8, 45, 512])
def test_loss_and_gradients_equal_the_plain_way_in_float64(
    name: str, rows: int, bias: bool
) -> None:
    hidden, head, labels = made(torch.float64, bias=bias)
    expected = NextToken(kernel="plain", **WEIGHTS[name]).from_hidden(hidden, head, labels)
    score = by(hidden, head, labels, rows, **WEIGHTS[name])
    torch.testing.assert_close(score, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        gradients(score, hidden, head), gradients(expected, hidden, head), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("name", WEIGHTS)
def test_loss_and_gradients_equal_the_plain_way_in_float32(name: str) -> None:
    hidden, head, labels = made(torch.float32, bias=True)
    expected = NextToken(kernel="plain", **WEIGHTS[name]).from_hidden(hidden, head, labels)
    score = NextToken(**WEIGHTS[name]).from_hidden(hidden, head, labels)
    torch.testing.assert_close(score, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        gradients(score, hidden, head), gradients(expected, hidden, head), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("master", [torch.float32, torch.bfloat16])
def test_bfloat16_is_as_near_to_float64_as_the_plain_way(master: torch.dtype) -> None:
    exact = made(torch.float64, bias=True)
    truth = gradients(NextToken(kernel="plain").from_hidden(*exact), *exact[:2])
    apart = {}
    for kernel in ("plain", "fused"):
        hidden, head, labels = made(master, bias=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=master == torch.float32):
            score = NextToken(kernel=kernel).from_hidden(hidden, head, labels)
        found = gradients(score, hidden, head)
        assert [g.dtype for g in found] == [master] * 3
        apart[kernel] = [
            float((a.double() - b).norm() / b.norm()) for a, b in zip(found, truth, strict=True)
        ]
    assert max(apart["fused"]) < 0.02
    for fused, plain in zip(apart["fused"], apart["plain"], strict=True):
        assert fused < 1.5 * plain


def test_a_sure_guess_keeps_its_gradient_in_bfloat16() -> None:
    # 1 - p is about 1e-3 here: p itself rounds to 1 in bfloat16
    hidden = torch.tensor([[[1.0]]], requires_grad=True)
    head = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[7.0], [0.0]]))
    with torch.autocast("cpu", torch.bfloat16):
        score = NextToken().from_hidden(hidden, head, torch.tensor([[0]]))
    (gradient,) = torch.autograd.grad(score.loss, [head.weight])
    assert gradient[0, 0].item() == pytest.approx(1 / (1 + math.exp(-7)) - 1, rel=5e-3)


def test_no_labelled_position_makes_no_loss_and_no_gradient() -> None:
    hidden, head, labels = made(torch.float32, bias=True)
    score = NextToken().from_hidden(hidden, head, torch.full_like(labels, IGNORE))
    assert (score.loss.item(), score.nats.item(), score.n_labels.item()) == (0, 0, 0)
    for gradient in gradients(score, hidden, head):
        assert not gradient.any()


def test_what_an_unlabelled_position_holds_changes_nothing() -> None:
    hidden, head, labels = made(torch.float32, bias=False)
    other = hidden.detach().clone()
    other[labels == IGNORE] = 1e4
    one = NextToken().from_hidden(hidden, head, labels)
    two = NextToken().from_hidden(other, head, labels)
    torch.testing.assert_close(one, two, rtol=0, atol=0)


class Shapes(torch.utils._python_dispatch.TorchDispatchMode):
    """Remembers the largest tensor that anything made."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0
        self.products = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.products += func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm_)
        tensors = out if isinstance(out, tuple | list) else [out]
        sizes = [t.numel() for t in tensors if isinstance(t, Tensor)]
        self.largest = max(self.largest, *sizes, 0)
        return out


def test_no_tensor_of_all_logits_exists() -> None:
    hidden, head, labels = made(torch.float32, bias=False, n=200)
    with Shapes() as seen:
        gradients(by(hidden, head, labels, 20), hidden, head)
    assert seen.largest <= max(20 * 40, 200 * 16)  # a chunk's logits, or the hidden states
    assert seen.largest < 200 * 40


def test_gradients_that_nobody_needs_are_not_made() -> None:
    hidden, head, labels = made(torch.float32, bias=False, n=20)
    counts = {}
    for name, needs in {"none": (0, 0), "hidden": (1, 0), "both": (1, 1)}.items():
        hidden.requires_grad_(bool(needs[0]))
        head.weight.requires_grad_(bool(needs[1]))
        with Shapes() as seen:
            score = by(hidden, head, labels, 20)
        counts[name] = seen.products
        assert score.loss.requires_grad is bool(sum(needs))
    assert counts == {"none": 1, "hidden": 2, "both": 3}
    with torch.no_grad(), Shapes() as seen:
        by(hidden, head, labels, 20)
    assert seen.products == 1


def test_a_frozen_head_leaves_the_gradient_of_the_states() -> None:
    hidden, head, labels = made(torch.float32, bias=True)
    head.requires_grad_(False)
    expected = gradients(NextToken(kernel="plain").from_hidden(hidden, head, labels), hidden, head)
    found = gradients(NextToken().from_hidden(hidden, head, labels), hidden, head)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_head_that_is_more_than_a_matrix_is_run_as_it_is() -> None:
    class Capped(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return 3 * torch.tanh(super().forward(input) / 3)

    hidden, _, labels = made(torch.float32, bias=False)
    head = Capped(16, 40)
    score = NextToken().from_hidden(hidden, head, labels)
    nats = F.cross_entropy(head(hidden)[0], labels[0], ignore_index=IGNORE, reduction="sum")
    torch.testing.assert_close(score.loss, nats)


def test_a_second_backward_is_refused_with_the_cure() -> None:
    hidden, head, labels = made(torch.float32, bias=False)
    score = NextToken().from_hidden(hidden, head, labels)
    score.loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="loss: plain"):
        score.loss.backward()


@pytest.mark.skipif(not hasattr(F, "linear_cross_entropy"), reason="this torch has it not")
def test_torchs_own_kernel_gives_the_same_in_float32() -> None:
    hidden, head, labels = made(torch.float32, bias=True)
    expected = NextToken(kernel="plain").from_hidden(hidden, head, labels)
    score = NextToken(kernel="torch").from_hidden(hidden, head, labels)
    torch.testing.assert_close(score, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        gradients(score, hidden, head), gradients(expected, hidden, head), rtol=1e-4, atol=1e-5
    )


def test_an_unknown_kernel_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no loss 'fuse' \(did you mean 'fused'\?\)"):
        NextToken(kernel="fuse")


def test_torchs_kernel_refuses_what_it_cannot_report() -> None:
    with pytest.raises(ConfigError, match=r"z_loss=0\.0001"):
        NextToken(kernel="torch", z_loss=1e-4)


def test_liger_that_is_not_installed_is_named_with_its_extra() -> None:
    try:
        import liger_kernel  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtra, match=r"roots-lm\[liger\]"):
            NextToken(kernel="liger")
    else:
        pytest.skip("liger-kernel is installed")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="Liger's kernel needs a CUDA device")
def test_ligers_kernel_gives_the_same_in_float32() -> None:
    pytest.importorskip("liger_kernel")
    hidden, head, labels = made(torch.float32, bias=True)
    hidden, head, labels = hidden.detach().cuda().requires_grad_(), head.cuda(), labels.cuda()
    expected = NextToken(kernel="plain").from_hidden(hidden, head, labels)
    score = NextToken(kernel="liger").from_hidden(hidden, head, labels)
    torch.testing.assert_close(score, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        gradients(score, hidden, head), gradients(expected, hidden, head), rtol=1e-3, atol=1e-4
    )


@pytest.mark.slow
def test_the_compiled_kernel_gives_the_same() -> None:
    hidden, head, labels = made(torch.float32, bias=True)
    expected = NextToken().from_hidden(hidden, head, labels)
    score = NextToken(compiled=True).from_hidden(hidden, head, labels)
    torch.testing.assert_close(score, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        gradients(score, hidden, head), gradients(expected, hidden, head), rtol=1e-5, atol=1e-5
    )
