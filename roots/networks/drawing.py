"""The weights that a network's own initialisation draws, handed over block by block.

A network that is cut over many devices never exists whole, and still gets, number for number, what
one device would have drawn from the same seed: the random numbers are taken in the same order, and
of the host's memory only one block and what lies outside the blocks is in use at a time.

Some classes draw only a part of themselves there and leave the rest to their constructor, which a
network on the meta device has lost. So memory is made full of NaN, and what still is NaN is found.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from roots.errors import ConfigError
from roots.networks.blocks import blocks_of

Give = Callable[[str, Tensor], None]
"""Takes a whole tensor under its name in the network; it lies on the host and is used at once."""


@torch.no_grad()
def draw_by_blocks(skeleton: PreTrainedModel, *, seed: int, give: Give) -> bool:
    """Draws the weights of a network and hands each of them over, and then its buffers.

    Args:
        skeleton: On the meta device; it is used up.
        seed: The same seed gives the weights of `draw_weights`.
        give: Takes them.

    Returns:
        Whether it worked; not where the initialisation of a module reaches into blocks below it
        that are handed over already, or leaves something undrawn. What was given is wrong then.
    """
    drawing = _Drawing(skeleton, give)
    forget_initialized(skeleton)
    drawing.make_room_outside()
    with torch.random.fork_rng(devices=[]), drawing.in_place():
        torch.manual_seed(seed)
        skeleton.initialize_weights()
    skeleton.tie_weights()
    drawing.give_outside()
    return not drawing.left_undrawn and not drawing.reached_back()


def make_room(module: nn.Module, *, recurse: bool = True) -> None:
    """Gives a module memory on the host, in which `undrawn` finds what nobody wrote into."""
    module.to_empty(device="cpu", recurse=recurse)
    for tensor in (*module.parameters(recurse), *module.buffers(recurse)):
        if tensor.is_floating_point():
            tensor.fill_(math.nan)


def undrawn(module: nn.Module) -> list[str]:
    """Names what has no values since `make_room`, also where only a part of it has none."""
    return [name for name, tensor in named_tensors(module) if not _has_values(tensor)]


def _has_values(tensor: Tensor) -> bool:
    if tensor.is_floating_point():
        return tensor.numel() == 0 or not tensor.amin().isnan()
    return tensor._version > 0  # whole numbers have no NaN; what was written into has been counted


def take_from_constructor(network: PreTrainedModel, names: Sequence[str], *, seed: int) -> None:
    """Gives weights that `_init_weights` leaves out what the class's constructor gives them.

    Raises:
        ConfigError: It gives them nothing either.
    """
    with torch.random.fork_rng(devices=[]), _empty_is_nan():
        torch.manual_seed(seed)
        made = dict(named_tensors(type(network)(copy.deepcopy(network.config))))
    bare = [n for n in names if n not in made or bool(made[n].isnan().any())]
    if bare:
        raise ConfigError(
            f"{type(network).__name__} gives {len(bare)} of its weights no values ({bare[0]}), so"
            " that whatever lies in memory would be trained. Draw them in the class's"
            " _init_weights, or in its constructor."
        )
    tensors = dict(named_tensors(network))
    for name in names:
        tensors[name].copy_(made[name])


@contextmanager
def _empty_is_nan() -> Iterator[None]:
    """Lets `torch.empty` fill its memory, which torch does where it shall be deterministic."""
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("warn")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)


def forget_initialized(module: nn.Module) -> None:
    """Lets `initialize_weights` draw everything, also what it believes to have drawn."""
    for part in module.modules():
        part._is_hf_initialized = False  # type: ignore[assignment]
        for tensor in (*part.parameters(recurse=False), *part.buffers(recurse=False)):
            tensor._is_hf_initialized = False  # type: ignore[attr-defined]


def named_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Lists parameters and buffers by name, each once."""
    yield from module.named_parameters()
    yield from module.named_buffers()


class _Drawing:
    """Gives a block memory when its first module is initialised, and takes it after its last."""

    def __init__(self, skeleton: PreTrainedModel, give: Give) -> None:
        self.skeleton = skeleton
        self.give = give
        self.block_of: dict[nn.Module, nn.Module] = {}
        for block in blocks_of(skeleton):
            for part in block.modules():
                self.block_of.setdefault(part, block)  # blocks within blocks are parts of those
        self.names = {module: name for name, module in skeleton.named_modules()}
        self.begun: set[nn.Module] = set()
        self.left_undrawn = False

    def make_room_outside(self) -> None:
        for module in self.skeleton.modules():
            if module not in self.block_of:
                make_room(module, recurse=False)

    def in_place(self) -> _Patched:
        return _Patched(self.skeleton, self.visit)

    def visit(self, initialize: Callable[..., None], module: nn.Module, *others: Any) -> None:
        block = self.block_of.get(module)
        if block is not None and block not in self.begun:
            self.begun.add(block)
            make_room(block)
            forget_initialized(block)
        initialize(module, *others)
        if module is block:
            self.left_undrawn |= bool(undrawn(block))
            for name, tensor in named_tensors(block):
                self.give(f"{self.names[block]}.{name}", tensor)
            block.to_empty(device="meta")

    def give_outside(self) -> None:
        for name, tensor in named_tensors(self.skeleton):
            if not tensor.is_meta:
                self.left_undrawn |= not _has_values(tensor)
                self.give(name, tensor)

    def reached_back(self) -> bool:
        """Tells whether something was written into a block that had been handed over."""
        return any(t._version for block in self.begun for _, t in named_tensors(block))


class _Patched:
    """Puts a visitor around `_initialize_weights` of a network and of the networks within it."""

    def __init__(self, network: PreTrainedModel, visit: Callable[..., None]) -> None:
        self.networks = [m for m in network.modules() if isinstance(m, PreTrainedModel)]
        self.visit = visit

    def __enter__(self) -> None:
        for network in self.networks:
            network._initialize_weights = partial(self.visit, network._initialize_weights)

    def __exit__(self, *_: object) -> None:
        for network in self.networks:
            del network._initialize_weights
