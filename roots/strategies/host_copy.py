"""A copy of tensors on the host, in memory that one copy hands on to the next."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

T = TypeVar("T")


PINNED_FROM = 2**20
"""Bytes of the smallest room that is pinned: less is copied fast, and may share a page of memory
with another, which CUDA does not take twice."""


class HostCopy:
    """Copies tensors to the host, and keeps the room for the next copy of as many bytes.

    What is made of it is what would be made of the tensors themselves, byte by byte: those that
    share memory share it in the copy, views are views of the same part, and names and numbers are
    copied with them. The memory is that of what is copied, on each rank its own. In a run on CUDA
    it is pinned, so that a device fills it as fast as the bus allows; where the system refuses
    to pin so much, the copy is slower and otherwise the same.
    """

    def __init__(self) -> None:
        self._rooms: list[Tensor] = []  # uint8, 1-d
        self._pinned: set[int] = set()
        self._n_used = 0
        self._own: set[int] = set()  # where the rooms in use lie
        self._known: dict[int, tuple[Any, Tensor]] = {}  # a storage, kept alive, and its room

    @property
    def addresses(self) -> list[int]:
        """Where the rooms lie."""
        return [room.data_ptr() for room in self._rooms]

    @property
    def n_bytes(self) -> int:
        """How much memory is kept."""
        return sum(room.numel() for room in self._rooms)

    def begin(self) -> None:
        """Starts the next copy: what was copied before is written over."""
        self._n_used, self._own = 0, set()
        self.forget()

    def forget(self) -> None:
        """Copies what comes anew, also where it was copied before: it has changed since."""
        self._known = {}

    def of(self, tree: T) -> T:
        """Copies nested dictionaries, lists and tuples; returns when the copy is whole."""
        places = {id(tensor): self._placed(tensor) for tensor in tensors_in(tree)}
        if torch.cuda.is_initialized():  # not is_available: a run on CPUs must not start CUDA
            torch.cuda.synchronize()
        return copy.deepcopy(tree, places)

    def take(self, tensor: Tensor) -> Tensor:
        """Copies a tensor that only passes through, and lives no longer than this call."""
        self.forget()
        taken = self.of(tensor)
        self.forget()
        return taken

    def release(self) -> None:
        """Gives the memory back."""
        for address in self._pinned:
            torch.cuda.cudart().cudaHostUnregister(address)
        self._rooms, self._pinned = [], set()
        self.begin()

    def _placed(self, tensor: Tensor) -> Tensor:
        if isinstance(tensor, DTensor):
            # not by from_local, which would move it to the mesh's device
            return DTensor(self._placed(tensor.to_local()), tensor._spec, requires_grad=False)
        tensor = tensor.detach()
        if type(tensor) is not Tensor:  # it may have no memory of its own
            return tensor.cpu().clone()
        storage = tensor.untyped_storage()
        if storage.data_ptr() in self._own:
            return tensor
        key = storage._cdata  # as torch.save tells what is one
        if key not in self._known:
            self._known[key] = (storage, self._filled(storage, tensor.device))
        room = self._known[key][1].untyped_storage()
        place = torch.empty(0, dtype=tensor.dtype)
        return place.set_(room, tensor.storage_offset(), tensor.size(), tensor.stride())

    def _filled(self, storage: Any, device: torch.device) -> Tensor:
        n_bytes = storage.nbytes()
        if self._n_used == len(self._rooms):
            self._rooms.append(self._room(n_bytes))
        if self._rooms[self._n_used].numel() != n_bytes:
            self._drop(self._n_used)
            self._rooms[self._n_used] = self._room(n_bytes)
        room = self._rooms[self._n_used]
        self._n_used += 1
        if n_bytes:
            self._own.add(room.data_ptr())
        source = torch.empty(0, dtype=torch.uint8, device=device).set_(storage)
        return room.copy_(source, non_blocking=True)

    def _room(self, n_bytes: int) -> Tensor:
        room = torch.empty(n_bytes, dtype=torch.uint8)
        if n_bytes >= PINNED_FROM and torch.cuda.is_initialized():
            # not by pin_memory, which rounds up to a power of two
            status = torch.cuda.cudart().cudaHostRegister(room.data_ptr(), n_bytes, 1)
            if int(status) == 0:
                self._pinned.add(room.data_ptr())
            else:
                with suppress(RuntimeError):  # takes the refusal, which the next kernel would meet
                    torch.ones(1, device="cuda")
        return room

    def _drop(self, number: int) -> None:
        address = self._rooms[number].data_ptr()
        if address in self._pinned:
            torch.cuda.cudart().cudaHostUnregister(address)
            self._pinned.discard(address)


@contextmanager
def gathered_by(strategy: Any, host: HostCopy | None) -> Iterator[None]:
    """Lets what a strategy gathers come into the room of a copy, where there is one."""
    if host is None:
        yield
        return
    strategy.to_host = host.take
    try:
        yield
    finally:
        del strategy.to_host


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """Lists the tensors in nested dictionaries, lists and tuples, in their order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from tensors_in(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from tensors_in(value)
