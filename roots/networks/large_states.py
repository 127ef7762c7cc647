"""What a network makes of large states behind its body: the proof that body and head may run apart.

Freshly drawn weights give logits too small to show a cap or a scale, so the states that reach the
head are replaced by large ones: what the network makes of them is what it does after its body.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LargeStates:
    """The hidden states that a body made, and the large ones that were given to the head instead.

    Args:
        received: What the body made.
    """

    def __init__(self, received: Float[Tensor, "1 T D"]) -> None:
        self.received = received
        wave = torch.arange(received.numel(), device=received.device, dtype=torch.float32)
        self.given = (30 * torch.sin(wave * 12.9898)).view_as(received).to(received.dtype)


def logits_of_large_states(
    body: nn.Module, run: Callable[[], Float[Tensor, "1 T V"]]
) -> tuple[Float[Tensor, "1 T V"], LargeStates | None]:
    """Runs a network, and puts large states in the place of those that its body makes.

    Args:
        body: The part of the network whose `last_hidden_state` is replaced.
        run: Runs the network and gives its logits.

    Returns:
        The logits, and the states; None where the body was not run.
    """
    caught: list[LargeStates] = []

    def replace(_module: nn.Module, _args: Any, output: Any) -> Any:
        caught.append(LargeStates(output.last_hidden_state))
        output.last_hidden_state = caught[-1].given
        return output

    hook = body.register_forward_hook(replace)
    try:
        own = run()
    finally:
        hook.remove()
    return own, caught[-1] if caught else None


def logits_apart(own: Float[Tensor, "1 T V"], ours: Float[Tensor, "1 T V"]) -> str:
    """Says how a network's own logits differ from those of its head; empty where they do not."""
    if own.shape != ours.shape:
        return f"its logits are {tuple(own.shape)}, those of its head {tuple(ours.shape)}"
    apart = (own.float() - ours.float()).abs().max()
    scale = own.float().abs().max().clamp(min=1e-6)
    tolerance = 1e-4 if own.dtype == torch.float32 else 2e-2
    if apart > tolerance * scale:
        return f"its logits differ from those of its head by {float(apart / scale):.1%}"
    return ""
