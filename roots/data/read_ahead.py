"""The next item is read while the present one is used: one thread, one item ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader

T = TypeVar("T")

_END = object()


def read_ahead(items: Iterator[T], *, prepare: Callable[[], None] | None = None) -> Iterator[T]:
    """Yields the items in order; a thread asks for the next one as soon as one is handed out.

    The thread starts when the first item is asked for. It has ended when the items have, and when
    the iterator is closed or dropped, which waits for a read that is going on. An error of the
    source is raised where its item would have come, as it was, with the thread's traceback.

    Args:
        items: The source; only the thread reads it, and at most one item more than were asked for.
        prepare: Is called once in the thread before it reads.
    """
    with ThreadPoolExecutor(1, "read-ahead", initializer=prepare) as thread:
        coming = thread.submit(next, items, _END)
        while True:
            item: Any = coming.result()
            if item is _END:
                return
            coming = thread.submit(next, items, _END)
            yield item
            del item  # the consumer's now: it may be freed while the next is waited for


class AheadLoader(DataLoader[T]):
    """A DataLoader whose next item is read, and pinned, while the present one is used.

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
