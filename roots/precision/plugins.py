"""Float32, bfloat16 beside float32, bfloat16 throughout; and every format by its name."""

from __future__ import annotations

import platform

import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import nn

from roots.errors import ConfigError
from roots.precision.float8 import FP8Mixed
from roots.precision.float16 import FP16Mixed
from roots.precision.protocol import StepPrecision


class Float32(StepPrecision):
    """Everything in float32: weights, arithmetic, optimizer state."""

    summary = "float32 weights and arithmetic"

    def __init__(self) -> None:
        super().__init__()
        self.precision = "32-true"


class BF16Mixed(MixedPrecision, StepPrecision):
    """Float32 weights; matrix products in bfloat16 by autocast, sums and norms in float32."""

    summary = "float32 weights, bfloat16 matrix products"
    products = torch.bfloat16

    def __init__(self) -> None:
        super().__init__("bf16-mixed", device="cpu")

    def use_device(self, device: torch.device) -> None:
        """Tells autocast where the run computes."""
        self.device = device.type


class BF16True(StepPrecision):
    """Bfloat16 weights and arithmetic; the optimizer keeps float32 copies of the weights.

    Half the memory traffic of float32. Gradients are summed over the micro-batches and ranks of a
    step in bfloat16, so few, large micro-batches are better than many small ones.
    """

    summary = "bfloat16 weights and arithmetic, float32 master weights in the optimizer"
    products = torch.bfloat16

    def __init__(self) -> None:
        super().__init__()
        self.precision = "bf16-true"

    def convert_module(self, module: nn.Module) -> nn.Module:
        """Rounds the parameters. Buffers stay: rotary frequencies must not be rounded."""
        for parameter in module.parameters():
            if parameter.is_floating_point() and parameter.dtype != torch.bfloat16:
                parameter.data = parameter.data.to(torch.bfloat16)
        return module


PRECISIONS: dict[str, type[StepPrecision]] = {
    "32": Float32,
    "bf16-mixed": BF16Mixed,
    "bf16-true": BF16True,
    "16-mixed": FP16Mixed,
    "fp8-mixed": FP8Mixed,
}

ALIASES = {
    "32-true": "32",
    "fp32": "32",
    "bf16": "bf16-mixed",
    "16": "16-mixed",
    "fp16": "16-mixed",
    "fp8": "fp8-mixed",
}
"""Other people's names."""


def precision_named(name: str, device: torch.device) -> StepPrecision:
    """Makes the precision plugin of a name; `auto` is the fastest that is safe on the device.

    Raises:
        ConfigError: There is none of that name, or it does not work on this device.
    """
    if name == "16-true":
        raise ConfigError(
            "precision=16-true would keep the weights in float16, where small updates vanish and"
            " large values overflow. Set trainer.precision to 16-mixed, which keeps them in float32"
            " and scales the loss, or to auto."
        )
    name = ALIASES.get(name, name)
    if name == "auto":
        name = "bf16-mixed" if multiplies_bfloat16(device) else "32"
    if name not in PRECISIONS:
        raise ConfigError(
            f"There is no precision {name!r}. Set trainer.precision to auto,"
            f" {', '.join(PRECISIONS)}."
        )
    plugin = PRECISIONS[name]()
    plugin.use_device(device)
    return plugin


def multiplies_bfloat16(device: torch.device) -> bool:
    """Tells whether a device has units for bfloat16 products: without, they are very slow.

    A processor without them took 90 times as long for a product in bfloat16 as in float32.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or platform.system() != "Linux":
        return False
    if platform.machine() in ("x86_64", "AMD64"):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
