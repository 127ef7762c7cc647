"""Float32 weights with products in float16, whose narrow range a moving loss scale fits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from roots.errors import ConfigError
from roots.precision.protocol import ByAutocast

DEVICES = ("cpu", "cuda")
"""Where it was tried."""


class FP16Mixed(ByAutocast):
    """Float32 weights; matrix products in float16 by autocast, sums and norms in float32.

    For devices without bfloat16 units (V100, T4). Small gradients would vanish in float16, so the
    loss is multiplied by a scale before the backward pass and the gradients are divided by it
    after: what is measured, clipped and logged never has it. Where a gradient overflows on any
    rank, the step is left out on all, weights and optimizer as they are, and the scale is
    multiplied by `backoff_factor`. Such a step counts: its sequences are behind, and the schedule
    goes on. On a CPU too the products are float16, and slow.

    Args:
        init_scale: The first scale, above 0.
        growth_factor: What the scale is multiplied by when it has held for `growth_interval` steps;
            above 1.
        backoff_factor: What it is multiplied by after an overflow; above 0, below 1.
        growth_interval: Steps without overflow until the scale grows.

    Raises:
        ConfigError: A factor that does not grow or back off, or a scale that is not above 0.

    Source:
        Micikevicius et al., arXiv:1710.03740, section 3.2; the rule is `torch.amp.GradScaler`'s.
    """

    summary = "float32 weights, float16 matrix products, gradients by a moving loss scale"
    products = torch.float16

    def __init__(
        self,
        *,
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
    ) -> None:
        super().__init__()
        _check(init_scale, growth_factor, backoff_factor, growth_interval)
        self.precision = "16-mixed"
        self.init_scale = init_scale
        self.growth_factor = growth_factor
        self.backoff_factor = backoff_factor
        self.growth_interval = growth_interval
        self._scale = torch.tensor(init_scale, dtype=torch.float32)
        self._held_for = torch.tensor(0, dtype=torch.int32)

    @property
    def loss_scale(self) -> Tensor:
        """What the loss of the coming step is multiplied by, 0-d float32."""
        return self._scale

    def use_device(self, device: torch.device) -> None:
        """Tells autocast where the run computes.

        Raises:
            ConfigError: It was not tried there.
        """
        if device.type not in DEVICES:
            raise ConfigError(
                f"precision=16-mixed was not tried on {device.type}, only on"
                f" {' and '.join(DEVICES)}. Set trainer.precision to auto."
            )
        super().use_device(device)

    def pre_backward(self, tensor: Tensor, module: Any) -> Tensor:
        """Scales the loss."""
        self._go_to(tensor.device)
        scaled: Tensor = super().pre_backward(tensor, module) * self._scale
        return scaled

    @torch.no_grad()
    def unscale(self, parameters: Iterable[nn.Parameter]) -> None:
        """Divides all gradients by the scale; a shard by itself."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        here = [g.to_local() if hasattr(g, "to_local") else g for g in gradients]
        if here:
            factor = self._scale.double().reciprocal().float()
            torch._foreach_mul_(here, factor.to(here[0].device))

    def after_step(self, grad_norm: Tensor) -> None:
        """Backs off after an overflow, grows after `growth_interval` steps without."""
        self._scale, self._held_for = (
            self._scale.clone(),
            self._held_for.clone(),
        )  # others hold them
        torch._amp_update_scale_(
            self._scale,
            self._held_for,
            (~grad_norm.isfinite()).to(self._scale),
            self.growth_factor,
            self.backoff_factor,
            self.growth_interval,
        )

    def state_dict(self) -> dict[str, Any]:
        """Gives the scale and for how many steps it has held, as plain numbers."""
        return {"scale": float(self._scale), "held_for": int(self._held_for)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with a saved scale."""
        self._scale = torch.tensor(state_dict["scale"], dtype=torch.float32)
        self._held_for = torch.tensor(state_dict["held_for"], dtype=torch.int32)

    def _go_to(self, device: torch.device) -> None:
        """Brings the numbers to the device, with the first step only."""
        if self._scale.device != device:
            self._scale = self._scale.to(device)
            self._held_for = self._held_for.to(device)


def _check(init_scale: float, growth: float, backoff: float, interval: int) -> None:
    if not 0 < init_scale < float("inf"):
        raise ConfigError(
            f"init_scale={init_scale:g} scales no loss. Set it above 0; 65536 is usual."
        )
    if not growth > 1:
        raise ConfigError(f"growth_factor={growth:g} does not grow. Set it above 1; 2 is usual.")
    if not 0 < backoff < 1:
        raise ConfigError(
            f"backoff_factor={backoff:g} does not back off. Set it between 0 and 1; 0.5 is usual."
        )
    if interval < 1:
        raise ConfigError(f"growth_interval={interval} is no number of steps. Set it to 1 or more.")
