"""Marks the parts of a training step for torch's profiler, from outside the training code.

A range surrounds a call: the forward of a module, or a method of the trainer's strategy or of the
optimizer. Nothing within a compiled module is touched: it would be compiled again, or the range be
ignored.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from lightning.pytorch.profilers import Profiler
from torch import nn
from torch.profiler import record_function
from transformers.pytorch_utils import Conv1D

from roots.fit.profile.parts import (
    ATTENTION,
    BACKWARD_RANGE,
    CLIPPING,
    DATA,
    LOSS,
    OPTIMIZER,
    PRODUCTS,
    REST,
)
from roots.modules import LanguageModule
from roots.networks import Trainable

_DATA_ACTIONS = re.compile(
    r"(train_dataloader_next|batch_to_device|transfer_batch_to_device|on_(before|after)_batch_tr.+)$"
)


class Call(NamedTuple):
    """A method of an object, and the range to put around it."""

    owner: Any
    method: str
    part: str


@contextmanager
def marked(trainer: Any, module: LanguageModule) -> Iterator[None]:
    """Puts the ranges around the parts of a step, and takes them away again."""
    with ExitStack() as stack:
        for call in calls_of(trainer, module):
            stack.enter_context(_around(call))
        stack.enter_context(_data_marked(trainer))
        yield


def calls_of(trainer: Any, module: LanguageModule) -> Iterator[Call]:
    """Lists the calls that are marked; data is marked by what Lightning tells its profiler."""
    assert module.trainable is not None
    yield from _of_trainable(module.trainable)
    yield Call(trainer.strategy, "backward", BACKWARD_RANGE)
    yield Call(trainer.strategy, "grad_norm", CLIPPING)
    optimizer = module.optimizers()
    yield Call(optimizer, "step", OPTIMIZER)
    yield Call(optimizer, "zero_grad", OPTIMIZER)


def _of_trainable(trainable: Trainable) -> Iterator[Call]:
    """The whole is projection and loss, the body within it is not."""
    if _is_compiled(trainable):
        yield _call(trainable, REST)
        return
    yield _call(trainable, LOSS)
    network, head = trainable.network, trainable.network.get_output_embeddings()
    if _is_compiled(network):
        yield _call(network, REST)
        return
    yield _call(network.base_model, REST)
    if head is not None:
        yield _call(head, LOSS)
    if not _is_compiled(network.base_model):
        yield from _within(network.base_model, head)


def _within(module: nn.Module, head: nn.Module | None, *, in_attention: bool = False) -> Any:
    for name, child in module.named_children():
        if child is head:
            continue
        part = _part_of(name, child, in_attention=in_attention)
        if part:
            yield _call(child, part)
        if not _is_compiled(child):
            yield from _within(child, head, in_attention=in_attention or part == ATTENTION)


def _part_of(name: str, module: nn.Module, *, in_attention: bool) -> str:
    if isinstance(module, (nn.Linear, Conv1D)):
        return PRODUCTS
    named = name in ("self_attn", "attn", "attention")
    if not in_attention and (named or "Attention" in type(module).__name__):
        return ATTENTION
    return ""


def _call(module: nn.Module, part: str) -> Call:
    return Call(module, "_compiled_call_impl" if _is_compiled(module) else "forward", part)


def _is_compiled(module: nn.Module) -> bool:
    return module._compiled_call_impl is not None


@contextmanager
def _around(call: Call) -> Iterator[None]:
    owner, name = call.owner, call.method
    method, of_its_own = getattr(owner, name), owner.__dict__.get(name)

    @functools.wraps(method)
    def ranged(*args: Any, **kwargs: Any) -> Any:
        with record_function(call.part):
            return method(*args, **kwargs)

    setattr(owner, name, ranged)
    try:
        yield
    finally:
        if of_its_own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, of_its_own)


@contextmanager
def _data_marked(trainer: Any) -> Iterator[None]:
    before = trainer.profiler
    trainer.profiler = _DataRanges()
    try:
        yield
    finally:
        trainer.profiler = before


class _DataRanges(Profiler):
    """Opens a range where Lightning fetches a batch or moves it to the device."""

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[str, record_function] = {}

    def start(self, action_name: str) -> None:
        if _DATA_ACTIONS.search(action_name):
            self._open[action_name] = record_function(DATA)
            self._open[action_name].__enter__()

    def stop(self, action_name: str) -> None:
        if action_name in self._open:
            self._open.pop(action_name).__exit__(None, None, None)
