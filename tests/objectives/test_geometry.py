"""How unlike two networks arrange the positions of a row, against the definition by features."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from roots.objectives import unlikeness


def by_features(x: np.ndarray, y: np.ndarray) -> float:
    """1 - CKA from the products of features, not of positions, in float64 (eq. 3)."""
    x, y = x - x.mean(0), y - y.mean(0)
    together = np.linalg.norm(y.T @ x) ** 2
    return 1 - together / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def everywhere(rows: int, width: int) -> torch.Tensor:
    return torch.ones(rows, width, dtype=torch.bool)


def test_it_is_that_of_the_definition_for_rows_of_several_lengths_and_widths() -> None:
    ours, theirs = drawn(1, 3, 9, 6), drawn(2, 3, 9, 10)
    lengths = torch.tensor([9, 5, 2])
    real = torch.arange(9) < lengths[:, None]
    found = unlikeness(ours, theirs, real)
    expected = [
        by_features(ours[row, :n].double().numpy(), theirs[row, :n].double().numpy())
        for row, n in enumerate(lengths.tolist())
    ]
    torch.testing.assert_close(found, torch.tensor(expected).float(), rtol=1e-5, atol=1e-6)


def test_what_is_turned_moved_and_scaled_is_alike() -> None:
    ours = drawn(3, 2, 12, 5)
    turn = torch.linalg.qr(drawn(4, 5, 5)).Q
    found = unlikeness(ours, 1e3 * ours @ turn + 7, everywhere(2, 12))
    torch.testing.assert_close(found, torch.zeros(2), rtol=0, atol=1e-5)
    assert (unlikeness(ours, drawn(5, 2, 12, 5), everywhere(2, 12)) > 0.2).all()


def test_what_fills_a_row_up_changes_nothing_and_gets_no_gradient() -> None:
    ours, theirs = drawn(6, 1, 8, 4).requires_grad_(), drawn(7, 1, 8, 3)
    real = (torch.arange(8) < 5)[None]
    unlikeness(ours, theirs, real).sum().backward()
    assert ours.grad is not None
    assert (ours.grad[:, 5:] == 0).all()
    assert ours.grad[:, :5].abs().sum() > 0
    short = unlikeness(ours[:, :5], theirs[:, :5], everywhere(1, 5))
    torch.testing.assert_close(unlikeness(ours, theirs, real), short)


@pytest.mark.parametrize("width", [1, 4])
def test_the_gradient_is_that_of_finite_differences(width: int) -> None:
    ours, theirs = drawn(8, 1, 6, width).double().requires_grad_(), drawn(9, 1, 6, 3).double()

    def exact(states: torch.Tensor) -> torch.Tensor:
        # the function computes in float32: check its gradient against float64 differences
        return torch.tensor(by_features(states[0].numpy(), theirs[0].numpy()))

    unlikeness(ours, theirs, everywhere(1, 6)).sum().backward()
    assert ours.grad is not None
    steps = torch.eye(6 * width, dtype=torch.double).reshape(-1, 1, 6, width) * 1e-6
    point = ours.detach()
    slopes = [(exact(point + step) - exact(point - step)) / 2e-6 for step in steps]
    expected = torch.stack(slopes).reshape(1, 6, width)
    torch.testing.assert_close(ours.grad, expected, rtol=1e-3, atol=1e-5)


def test_a_row_of_one_position_or_of_equal_ones_has_nothing_to_compare() -> None:
    ours = torch.stack([drawn(10, 4, 3), torch.ones(4, 3)]).requires_grad_()
    real = torch.tensor([[True, False, False, False], [True] * 4])
    found = unlikeness(ours, drawn(11, 2, 4, 6), real)
    found.sum().backward()
    assert found.tolist() == [0, 0]
    assert ours.grad is not None
    assert torch.isfinite(ours.grad).all()


def test_low_precision_and_large_states_lose_nothing_that_counts() -> None:
    ours, theirs = drawn(12, 2, 16, 8) * 3e4, drawn(13, 2, 16, 4)
    exact = unlikeness(ours, theirs, everywhere(2, 16))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = unlikeness(ours.bfloat16(), theirs, everywhere(2, 16))
    torch.testing.assert_close(low, exact, rtol=0, atol=0.01)
