"""A network as it was before an adapter was put on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def adapter_off(network: nn.Module) -> Iterator[None]:
    """Runs a network without its adapters while the block runs; what is trained stays trainable.

    peft's own switch would also take `requires_grad` from the adapters' weights.

    Args:
        network: With adapters of `LoRA.put_on`.
    """
    layers: list[Any] = [m for m in network.modules() if hasattr(m, "_disable_adapters")]
    assert layers, "no adapter is on this network"
    before = [layer._disable_adapters for layer in layers]
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer, was in zip(layers, before, strict=True):
            layer._disable_adapters = was
