"""Gradients that are clipped inside the optimizer's step, without a pass of their own.

torch's fused optimizers divide each gradient by a number on the device while they read it anyway;
they have it for float16's loss scale (`torch.amp.GradScaler`). Clipping is such a division.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

FOLDING_DEVICES = frozenset({"cpu", "cuda"})
"""Where torch's fused kernels read `grad_scale`; the one for `mps` takes it and ignores it."""


def clip_divisor(norm: Float[Tensor, ""], clip_norm: float) -> Float[Tensor, ""]:
    """Gives what gradients are divided by to have a norm of at most `clip_norm`: 1 or more.

    A norm that is not finite gives a divisor that is not, and so weights that are not: training
    does not go on as if nothing had happened.

    Args:
        norm: Euclidean norm of all gradients together, 0-d float32; it stays on its device.
        clip_norm: The largest norm, above 0 and finite.

    Source:
        Pascanu et al., arXiv:1211.5063, algorithm 1, with the 1e-6 of torch's `clip_grad_norm_`.
    """
    return ((norm + 1e-6) / clip_norm).clamp(min=1.0)


@contextmanager
def clipped(optimizer: Optimizer, norm: Float[Tensor, ""], clip_norm: float) -> Iterator[None]:
    """Makes a step of the optimizer, within, one of clipped gradients.

    Args:
        optimizer: Where it divides in its step, hooks before the step see unclipped gradients.
        norm: Euclidean norm of all gradients together, 0-d.
        clip_norm: The largest norm; infinity clips nothing.
    """
    if clip_norm == float("inf"):
        yield
        return
    with divided(optimizer, clip_divisor(norm, clip_norm)):
        yield


@contextmanager
def divided(optimizer: Optimizer, divisor: Float[Tensor, ""] | None) -> Iterator[None]:
    """Makes a step of the optimizer, within, one of gradients divided by a number on the device.

    An optimizer that cannot divide in its step has its gradients divided here.

    Args:
        optimizer: Any; its gradients may be sharded.
        divisor: 0-d float32; None divides nothing.
    """
    if divisor is None:
        yield
    elif not divides_in_step(optimizer):
        _divide([p.grad for g in optimizer.param_groups for p in g["params"]], divisor)
        yield
    else:
        optimizer.grad_scale = divisor  # type: ignore[attr-defined]
        try:
            yield
        finally:
            optimizer.grad_scale = None  # type: ignore[attr-defined]


def divides_in_step(optimizer: Optimizer) -> bool:
    """Tells whether an optimizer divides its gradients by its attribute `grad_scale` as it steps.

    Such a one also leaves a step out where its attribute `found_inf` is 1 (see `left_out`). Those
    of roots say so by `takes_grad_scale`; those of torch by what `GradScaler` asks them.
    """
    if getattr(optimizer, "takes_grad_scale", False):
        return True
    devices = {p.device.type for g in optimizer.param_groups for p in g["params"]}
    fused = bool(getattr(optimizer, "_step_supports_amp_scaling", False))
    return fused and devices <= FOLDING_DEVICES


@torch.no_grad()
def _divide(gradients: list[Tensor | None], divisor: Float[Tensor, ""]) -> None:
    """Divides in place; a shard by itself, so that shards of several meshes go together."""
    here = [local(gradient) for gradient in gradients if gradient is not None]
    if here:
        torch._foreach_div_(here, divisor.to(here[0].device))


def local(tensor: Tensor) -> Tensor:
    """Gives the part of a sharded tensor that this rank holds; a whole one as it is."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor
