"""What lies in memory from the first step to the last: weights, gradients, optimizer state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from roots.optim import OptimizerBuilder


@dataclass(frozen=True)
class Held:
    """Bytes on one device between micro-batches.

    Args:
        parameters: Weights and buffers, in the precision's formats.
        buffers: Of them, the buffers.
        values: How many numbers the weights are.
        gradients: Of what is trained, in its format.
        state: What the optimizer keeps, as its builder counts it.
        masters: Float32 copies of weights of fewer bits.
        step_gradients: Float32 copies of their gradients, while the optimizer steps.
    """

    parameters: int
    buffers: int
    values: int
    gradients: int
    state: int
    masters: int
    step_gradients: int

    def on_the_host(self) -> Held:
        """Gives what is left on a device when weights, gradients and state lie on the host."""
        return Held(self.buffers, self.buffers, 0, 0, 0, 0, 0)


def held_by(network: Any, optimizer: OptimizerBuilder, precision: Any, *, shards: int = 1) -> Held:
    """Counts what one device holds; exact, by the real builders.

    Counters of the optimizer (four bytes for each parameter tensor) are left out.

    Args:
        network: Empty, on the meta device; it is changed.
        optimizer: Says what it keeps.
        precision: Says in which format weights lie.
        shards: Over how many devices each tensor is cut, along its first axis and filled up as
            torch's `fully_shard` does.
    """
    precision.convert_module(network)
    parameters = list(network.parameters())
    trained = [p for p in parameters if p.requires_grad]
    if shards > 1:
        for parameter in parameters:
            parameter.data = part_of(parameter.data, shards)
    has_low = any(p.dtype.itemsize < 4 for p in trained)
    copies = 4 * sum(p.numel() for p in trained) if has_low else 0
    buffers = size_of(network.buffers())
    return Held(
        parameters=size_of(parameters) + buffers,
        buffers=buffers,
        values=sum(p.numel() for p in parameters),
        gradients=size_of(trained),
        state=optimizer.state_bytes(network),
        masters=copies,
        step_gradients=copies,
    )


def part_of(whole: torch.Tensor, shards: int) -> torch.Tensor:
    """Makes what the first of `shards` devices has of a tensor that is cut along its first axis."""
    if shards == 1:
        return whole
    rows = -(-whole.shape[0] // shards) if whole.ndim else 1
    return whole.new_empty((rows, *whole.shape[1:]))


def size_of(tensors: Any) -> int:
    """Counts the bytes of tensors."""
    return sum(tensor.numel() * tensor.dtype.itemsize for tensor in tensors)


def groups_of(network: Any, blocks: list[nn.Module]) -> tuple[int, list[int]]:
    """Counts the values outside of all blocks, and in each block; tied ones once."""
    inside = [sum(p.numel() for p in block.parameters()) for block in blocks]
    within = {id(p) for block in blocks for p in block.parameters()}
    outside = sum(p.numel() for p in network.parameters() if id(p) not in within)
    return outside, inside
