"""Clipping inside the optimizer's step against clipping before it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from roots.optim import AdamW, MasterWeights, Muon, clipped
from roots.optim.clipping import clip_divisor, divided, divides_in_step, local
from roots.strategies import gradient_norm

STEPS = 4


def a_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(6, 8), nn.LayerNorm(8), nn.Linear(8, 6))


def unfused(network: nn.Module) -> Optimizer:
    return torch.optim.AdamW(network.parameters(), lr=0.01)


OPTIMIZERS: dict[str, Callable[[nn.Module], Optimizer]] = {
    "fused": AdamW(learning_rate=0.01).build,
    "unfused": unfused,
    "combined": Muon(learning_rate=0.01).build,
    "sgd": lambda network: torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9),
}


def give_gradients(network: nn.Module, step: int) -> None:
    """Of a norm of about 12; one parameter is left without."""
    generator = torch.Generator().manual_seed(step)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter)
    network[2].bias.grad = None


def by_torch(network: nn.Module, optimizer: Optimizer, clip_norm: float) -> None:
    nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
    optimizer.step()


def by_roots(network: nn.Module, optimizer: Optimizer, clip_norm: float) -> None:
    with clipped(optimizer, gradient_norm(network.parameters()), clip_norm):
        optimizer.step()


def trained(
    kind: str, way: Callable[[nn.Module, Optimizer, float], None], clip_norm: float
) -> list[Tensor]:
    network = a_network()
    optimizer = OPTIMIZERS[kind](network)
    for step in range(STEPS):
        give_gradients(network, step)
        way(network, optimizer, clip_norm)
    return [p.detach() for p in network.parameters()]


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("clip_norm", [0.01, 1.0, 9.0])
def test_the_weights_are_those_of_torchs_clipping_before_the_step(
    kind: str, clip_norm: float
) -> None:
    ours, theirs = trained(kind, by_roots, clip_norm), trained(kind, by_torch, clip_norm)
    # Muon rounds its momentum to bfloat16, which may tip a last bit over
    close = {"rtol": 1e-6, "atol": 1e-7} if kind != "combined" else {"rtol": 1e-3, "atol": 1e-4}
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, its, **close)
    unclipped = trained(kind, by_roots, math.inf)
    if kind == "sgd":  # the others do not mind the scale of their gradients much
        assert not torch.allclose(ours[2], unclipped[2])


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("clip_norm", [1e3, math.inf])
def test_below_the_limit_the_weights_are_bitwise_those_without_clipping(
    kind: str, clip_norm: float
) -> None:
    plain = trained(kind, lambda network, optimizer, _: optimizer.step(), clip_norm)
    ours = trained(kind, by_roots, clip_norm)
    assert all(torch.equal(a, b) for a, b in zip(ours, plain, strict=True))


@pytest.mark.parametrize("kind", ["fused", "unfused"])
def test_moments_and_weights_are_the_definition_in_float64(kind: str) -> None:
    network, exact = a_network(), a_network().double()
    optimizer = OPTIMIZERS[kind](network)
    reference = OPTIMIZERS[kind](exact)
    for group in reference.param_groups:
        group["fused"] = False
    for step in range(STEPS):
        give_gradients(network, step)
        for mine, its in zip(network.parameters(), exact.parameters(), strict=True):
            its.grad = None if mine.grad is None else mine.grad.double()
        by_roots(network, optimizer, 0.5)
        squares = [p.grad.square().sum() for p in exact.parameters() if p.grad is not None]
        norm = math.sqrt(math.fsum(float(square) for square in squares))
        assert norm > 5
        for parameter in exact.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(0.5 / (norm + 1e-6))
        reference.step()
    for mine, its in zip(network.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(mine.double(), its, rtol=1e-6, atol=1e-6)
        for name in ("exp_avg", "exp_avg_sq") if mine in optimizer.state else ():
            ours, theirs = optimizer.state[mine][name].double(), reference.state[its][name]
            torch.testing.assert_close(ours, theirs, rtol=2e-6, atol=1e-9)


def test_only_what_can_divide_in_its_step_is_asked_to() -> None:
    asked = {kind: divides_in_step(build(a_network())) for kind, build in OPTIMIZERS.items()}
    assert asked == {"fused": True, "unfused": False, "combined": True, "sgd": False}
    assert divides_in_step(MasterWeights(unfused(a_network())))


def test_on_a_device_whose_kernel_is_not_known_to_divide_the_gradients_are_divided_before() -> None:
    network = a_network().to("meta")
    optimizer = unfused(network)
    optimizer._step_supports_amp_scaling = True
    assert not divides_in_step(optimizer)


def test_before_the_step_hooks_see_unclipped_gradients_and_afterwards_nothing_is_left() -> None:
    network = a_network()
    optimizer = AdamW().build(network)
    give_gradients(network, 0)
    seen = []

    def closure() -> None:
        seen.append(float(gradient_norm(network.parameters())))

    norm = gradient_norm(network.parameters())
    with clipped(optimizer, norm, 0.5):
        optimizer.step(closure)
    assert seen == [float(norm)]
    assert float(gradient_norm(network.parameters())) == pytest.approx(0.5, rel=1e-5)
    assert optimizer.grad_scale is None


def test_a_step_that_fails_leaves_no_divisor_behind_and_no_weight_changed() -> None:
    network = a_network()
    optimizer = AdamW().build(network)
    give_gradients(network, 0)
    before = copy.deepcopy(network.state_dict())

    def stop() -> None:
        raise RuntimeError("stopped")

    with (
        pytest.raises(RuntimeError, match="stopped"),
        clipped(optimizer, torch.tensor(float("nan")), 1.0),
    ):
        optimizer.step(stop)
    assert optimizer.grad_scale is None
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_gives_a_divisor_that_is_not(norm: float) -> None:
    assert not clip_divisor(torch.tensor(norm), 1.0).isfinite()


@pytest.mark.parametrize("clip_norm", [0.3, 1.0, 2.0])
def test_the_divisor_is_torchs_coefficient_turned_over(clip_norm: float) -> None:
    for norm in (0.0, 0.1, 1.0, 1.5, 100.0):
        torchs = min(clip_norm / (norm + 1e-6), 1.0)
        assert float(clip_divisor(torch.tensor(norm), clip_norm)) == pytest.approx(1 / torchs)


def test_bfloat16_gradients_are_clipped_in_float32_when_there_are_float32_copies() -> None:
    low = a_network().to(torch.bfloat16)
    high = copy.deepcopy(low).float()
    build = OPTIMIZERS["sgd"]  # the one whose step is as long as its gradient
    master, plain = MasterWeights(build(low)), build(high)
    for step in range(STEPS):
        give_gradients(low, step)
        give_gradients(high, step)
        for mine, its in zip(low.parameters(), high.parameters(), strict=True):
            its.grad = None if mine.grad is None else mine.grad.float()
        by_roots(low, master, 1.0)
        by_torch(high, plain, 1.0)
    for (_, copied), exact in zip(master._pairs, high.parameters(), strict=True):
        torch.testing.assert_close(copied, exact.detach(), rtol=1e-6, atol=1e-6)


def test_nothing_is_divided_by_none_and_parameters_without_gradient_are_passed_over() -> None:
    network = a_network()
    optimizer = unfused(network)
    with divided(optimizer, None), divided(optimizer, torch.tensor(2.0)):
        optimizer.step()
    assert all(p.grad is None for p in network.parameters())


def test_a_whole_tensor_is_local() -> None:
    tensor = torch.ones(2)
    assert local(tensor) is tensor


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="looks at CUDA's fused kernel")
@pytest.mark.parametrize("clip_norm", [0.5, math.inf])
def test_on_a_gpu_the_fused_kernel_clips_without_waiting_for_the_host(clip_norm: float) -> None:
    ours, theirs = a_network().cuda(), a_network().cuda()
    optimizers = [AdamW(learning_rate=0.01).build(network) for network in (ours, theirs)]
    assert divides_in_step(optimizers[0])
    for step in range(STEPS):
        for network in (ours, theirs):
            give_gradients(network, step)
        torch.cuda.set_sync_debug_mode("error")
        try:
            by_roots(ours, optimizers[0], clip_norm)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        by_torch(theirs, optimizers[1], clip_norm)
    for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-6, atol=1e-7)
