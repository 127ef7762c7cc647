"""Keeps the books of memory while something runs: what each operation allocates, and until when."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

GRADIENTS = "gradients"
COPIES = "weights in low precision"
ACTIVATIONS = "activations"
LOSS = "logits and loss"
BACKWARD = "backward pass"


class Ledger(TorchDispatchMode):
    """Counts the memory of every tensor that is made while it is entered, each storage once.

    A storage is booked under `part` when it is made, and taken off when its last owner lets go of
    it: autograd's graph, a cache or a variable. So what activation checkpointing forgets, and what
    it keeps outside of autograd, are counted as they are. Scratch memory inside a kernel is not
    seen.

    Args:
        held: Tensors that were there before; they and views of them count nothing.
    """

    def __init__(self, held: Iterable[Tensor]) -> None:
        super().__init__()
        self.part = ACTIVATIONS
        self._held = [tensor.untyped_storage() for tensor in held]
        self._numbers = {id(storage): -1 for storage in self._held}
        self._made: list[tuple[str, int]] = []  # part and bytes of each storage, by its number
        self._history: list[int] = []  # the number of a storage that came, or ~number: that went
        self._now = 0

    @property
    def now(self) -> int:
        """Bytes in use."""
        return self._now

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Runs an operation and books what it made."""
        result = func(*args, **(kwargs or {}))
        part = COPIES if self._copies_what_is_held(func, args) else self.part
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._book(tensor, part)
        return result

    def at_peak(self, gradients: Iterable[Tensor] = ()) -> dict[str, int]:
        """Gives the bytes in use at the fullest moment, by part.

        Args:
            gradients: Tensors that are booked as such, whatever made them.
        """
        ours = {self._numbers.get(id(tensor.untyped_storage()), -1) for tensor in gradients}
        live: set[int] = set()
        for number in self._history[: self._fullest()]:
            live.add(number) if number >= 0 else live.discard(~number)
        sums: Counter[str] = Counter()
        for number in live:
            part, n_bytes = self._made[number]
            sums[GRADIENTS if number in ours else part] += n_bytes
        return dict(sums)

    def _fullest(self) -> int:
        now = most = where = 0
        for index, number in enumerate(self._history):
            now += self._made[number][1] if number >= 0 else -self._made[~number][1]
            if now > most:
                most, where = now, index + 1
        return where

    def _book(self, tensor: Tensor, part: str) -> None:
        storage = tensor.untyped_storage()
        key = id(storage)
        if key in self._numbers:
            return
        number = self._numbers[key] = len(self._made)
        self._made.append((part, storage.nbytes()))
        self._history.append(number)
        self._now += storage.nbytes()
        weakref.finalize(storage, self._strike_out, key).atexit = False

    def _strike_out(self, key: int) -> None:
        number = self._numbers.pop(key)
        self._history.append(~number)
        self._now -= self._made[number][1]

    def _copies_what_is_held(self, func: Any, args: tuple[Any, ...]) -> bool:
        if func is not torch.ops.aten._to_copy.default:
            return False
        return self._numbers.get(id(args[0].untyped_storage())) == -1
