"""The next items are read while the present ones are used: by one thread, some at a time."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader

T = TypeVar("T")

AT_ONCE = 2e-3  # seconds of reading that one waking of the thread, of about 0.1 ms, is worth
WORTH = 2e-4  # seconds of use, while as much could be read, that it is worth


def read_ahead(items: Iterator[T], *, prepare: Callable[[], None] | None = None) -> Iterator[T]:
    """Yields the items in order; a thread reads the next ones while those before are used.

    It reads what takes `AT_ONCE`, but one item at least: slow or large ones by themselves, quick
    ones several at a time. Who needs less than `WORTH` for these, and would only wait for the
    thread, reads the next by itself. The thread starts when the first item is asked for. It has
    ended when the items have, and when the iterator is closed or dropped, which waits for a read
    that is going on. An error of the source is raised where its item would have come, as it was,
    with the traceback of who read it.

    Args:
        items: The source; the thread reads it, or who asks while the thread does not.
        prepare: Is called once in the thread before it reads.
    """
    with ThreadPoolExecutor(1, "read-ahead", initializer=prepare) as thread:
        ready, end = thread.submit(_read, items).result()
        used = math.inf
        while True:
            is_worth_it = end is None and used > WORTH
            coming = thread.submit(_read, items) if is_worth_it else None
            began = time.perf_counter()
            while ready:
                yield ready.popleft()  # the consumer's now: it may be freed before the next comes
            used = time.perf_counter() - began
            if isinstance(end, StopIteration):
                return
            if end is not None:
                raise end
            ready, end = coming.result() if coming else _read(items)


def _read(items: Iterator[T]) -> tuple[deque[T], BaseException | None]:
    """Reads for `AT_ONCE`: the items, and what ended them, an error or StopIteration."""
    ready: deque[T] = deque()
    until = time.perf_counter() + AT_ONCE
    try:
        while not ready or time.perf_counter() < until:
            ready.append(next(items))
    except BaseException as end:  # is raised where the items are used
        return ready, end
    return ready, None


class AheadLoader(DataLoader[T]):
    """A DataLoader whose next items are read, and pinned, while the present ones are used.

    A read from cold storage costs a wait per row; a thread hides it without a copy of this process.
    An item is a batch as it is: there is nothing to collate, so torch's own iterator is left out.
    """

    def __iter__(self) -> Iterator[T]:  # type: ignore[override]
        """Starts over; nothing is read before the first item is asked for."""
        assert self.batch_size is None
        assert self.num_workers == 0
        items: Iterator[Any] = map(self.dataset.__getitem__, self.sampler)
        if not (self.pin_memory and torch.cuda.is_available()):
            return read_ahead(items)
        pinned = (item.pin_memory() for item in items)
        return read_ahead(pinned, prepare=_use_this_device())


def _use_this_device() -> Callable[[], None]:
    """Makes a thread use the CUDA device of this one: what it pins must not wake up another."""
    device = torch.cuda.current_device()
    return lambda: torch.cuda.set_device(device)
