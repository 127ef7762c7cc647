"""Which number format a run keeps and computes what in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from roots.optim import MasterWeights
from roots.strategies.zero_optimizer import ZeroOptimizer


def number_formats(trainer: Any, module: Any) -> dict[str, str]:
    """Names the formats of a run whose optimizer is built.

    Args:
        trainer: The trainer of the run.
        module: Its module.

    Returns:
        The formats of `parameters`, of the `products` of the forward and backward pass, of the
        `gradients`, of their sum over the ranks (`reduction`), and of the `optimizer` state.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    optimizer = trainer.optimizers[0]
    state: str = module.optimizer_builder.state_format(optimizer)
    if isinstance(optimizer, ZeroOptimizer):  # its parts may lie elsewhere between steps
        state = "float32"
    if isinstance(optimizer, (MasterWeights, ZeroOptimizer)):
        state += ", and float32 master weights"
    gradients = named(p.dtype for p in trained)
    summed = trainer.strategy.reduces_in
    return {
        "parameters": named(p.dtype for p in module.parameters()),
        "products": named([trainer.precision_plugin.products]),
        "gradients": gradients,
        "reduction": named([summed]) if summed else gradients,
        "optimizer": state,
    }


def in_words(formats: dict[str, str]) -> str:
    """Words the formats in one line."""
    return "number formats: " + " · ".join(f"{what} {name}" for what, name in formats.items())


def named(formats: Iterable[torch.dtype]) -> str:
    """Names formats, each once."""
    return " + ".join(sorted({str(format).removeprefix("torch.") for format in formats}))
