"""Optimizer steps that are left out, by a decision that stays on the device.

torch's fused optimizers read a flag beside the gradients and leave weights and state as they are
where it is set; they have it for float16's overflows (`torch.amp.GradScaler`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor
from torch.optim import Optimizer

from roots.optim.clipping import divides_in_step


@contextmanager
def left_out(optimizer: Optimizer, skip: Tensor | None) -> Iterator[None]:
    """Makes a step of the optimizer, within, one that changes nothing where `skip` is true.

    Neither weights nor the optimizer's state change. An optimizer without a place for the flag is
    stepped without gradients, which it passes over; for that the host waits for the decision.

    Args:
        optimizer: Any of roots or torch.
        skip: The decision, 0-d, equal on every rank; None leaves nothing out.
    """
    if skip is None:
        yield
    elif divides_in_step(optimizer):
        optimizer.found_inf = skip.float()  # type: ignore[attr-defined]
        try:
            yield
        finally:
            optimizer.found_inf = None  # type: ignore[attr-defined]
    else:
        if skip.item():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = None
        yield
