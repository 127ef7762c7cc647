"""Float32 weights with the blocks' products in 8-bit floats, by torchao's layers."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from roots.errors import ConfigError, MissingExtra, nearest
from roots.networks.blocks import blocks_of
from roots.precision.protocol import ByAutocast

Recipe = Literal["rowwise_with_gw_hp", "rowwise", "tensorwise"]
MULTIPLE = 16
"""What both sizes of a weight must be multiples of, as the units for 8-bit products want it."""
CAPABILITY = (8, 9)
"""The first compute capability with such units: Ada, Hopper (9.0) and later."""


class FP8Mixed(ByAutocast):
    """Float32 weights; the products of linear layers in blocks in 8-bit floats, others in bfloat16.

    Activations, weights and gradients are scaled and rounded to 8 bits just before they are
    multiplied; sums are kept in float32, and what comes out is bfloat16. Embeddings, norms,
    attention, the head and the loss are as with `bf16-mixed`, and so are layers whose sizes are no
    multiples of 16. It pays for large layers, compiled (`model.compile`), on GPUs with 8-bit units
    (Ada, Hopper and later). On a CPU it computes the same, slowly, to try the numbers. MFU is told
    as a share of the bfloat16 peak, so that both can be compared. The weights, and so all files,
    are those of any other precision.

    Args:
        recipe: What shares a scale. `rowwise_with_gw_hp`: each token of the activations and
            gradients, and each row of the weights; the gradient of the weights in bfloat16. No
            token's rounding depends on what is beside it, so that steps are the same for every
            micro-batch size and number of devices (`fsdp` gathers weights in bfloat16, and so
            rounds them twice). `rowwise`: the gradient of the weights in 8 bits
            too, with a scale for each channel of a micro-batch. `tensorwise`: a scale for each
            tensor; fastest, and the least exact. The scales of the last two are those of a
            micro-batch: another split rounds otherwise.

    Raises:
        ConfigError: There is no such recipe.
        MissingExtra: torchao is not installed.

    Source:
        Micikevicius et al., arXiv:2209.05433 (the formats e4m3 and e5m2); the recipes are those of
        `torchao.float8`.
    """

    summary = "float32 weights, 8-bit products in the blocks, bfloat16 ones elsewhere"
    products = torch.bfloat16

    def __init__(self, *, recipe: Recipe = "rowwise_with_gw_hp") -> None:
        super().__init__()
        if recipe not in get_args(Recipe):
            known = get_args(Recipe)
            raise ConfigError(
                f"There is no recipe {recipe!r} of 8-bit products{nearest(recipe, known)}. Set"
                f" recipe to {', '.join(known)}."
            )
        self.precision = "fp8-mixed"  # type: ignore[assignment]  # Lightning names no such format
        self.recipe = recipe
        self._linear, config = _torchao()
        # a micro-batch of any number of tokens is filled up where they are summed over
        self._config = replace(config.from_recipe_name(recipe), pad_inner_dim=True)

    def use_device(self, device: torch.device) -> None:
        """Tells autocast where the run computes.

        Raises:
            ConfigError: The device has no units for 8-bit products.
        """
        if device.type != "cpu" and not _multiplies_float8(device):
            raise ConfigError(
                "precision=fp8-mixed needs a GPU with units for 8-bit floats (compute capability"
                f" {'.'.join(map(str, CAPABILITY))} or higher: Ada, Hopper), and {_name(device)}"
                " has none. Set trainer.precision to auto."
            )
        super().use_device(device)

    def convert_module(self, module: nn.Module) -> nn.Module:
        """Turns the linear layers of the blocks into those of torchao, in place.

        Layers and weights stay the same objects, so that it does not matter whether they have been
        cut over devices or compiled before.

        Raises:
            ConfigError: No layer has the sizes for it.
        """
        networks = [m for m in module.modules() if isinstance(m, PreTrainedModel)]
        layers = [
            layer
            for block in (blocks_of(networks[0]) if networks else [])
            for layer in block.modules()
            if type(layer) is nn.Linear or isinstance(layer, self._linear)
        ]
        fitting = [layer for layer in layers if _fits(layer)]
        if not fitting:
            sizes = ", ".join(sorted({f"{x.in_features} x {x.out_features}" for x in layers}))
            raise ConfigError(
                "precision=fp8-mixed multiplies in 8 bits where both sizes of a linear layer are"
                f" multiples of {MULTIPLE}; those of the blocks are {sizes or 'none at all'}."
                " Change the network's sizes, or set trainer.precision to bf16-mixed."
            )
        for layer in fitting:
            if type(layer) is nn.Linear:
                made = vars(self._linear.from_float(layer, self._config))
                layer.__class__ = self._linear
                vars(layer).update({k: v for k, v in made.items() if k not in vars(layer)})
        return module


def _fits(layer: nn.Linear) -> bool:
    return layer.in_features % MULTIPLE == 0 and layer.out_features % MULTIPLE == 0


def _multiplies_float8(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= CAPABILITY


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


@cache
def _torchao() -> tuple[Any, Any]:
    """Gives the class of a linear layer, and of what tells it how to scale."""
    try:
        from torchao.float8 import Float8LinearConfig
        from torchao.float8.float8_linear import Float8Linear
    except ImportError as error:
        raise MissingExtra(
            "precision=fp8-mixed needs the package torchao, which is not installed. Install it"
            " (pip install 'roots-lm[fp8]', or pip install -e '.[fp8]' in a clone), or set"
            " trainer.precision to bf16-mixed."
        ) from error

    class Linear8(Float8Linear):
        """A layer that takes what it is given as bfloat16, on every device, as autocast would."""

        def forward(self, input: Tensor) -> Tensor:
            """Multiplies in 8 bits."""
            result: Tensor = super().forward(input.to(torch.bfloat16))
            return result

    return Linear8, Float8LinearConfig
