"""Warmed: the rows of the coming steps are fetched from an object store before they are read."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Int64
from torch.utils.data import Dataset

from roots.shards import Streamed

T_co = TypeVar("T_co", covariant=True)


@runtime_checkable
class Steps(Protocol):
    """A dataset of steps that tells which rows each of them has."""

    def samples(self, step: int) -> Int64[np.ndarray, " B"]:
        """Gives the rows of this rank's share of a step; a negative one is filler."""

    def look_at(self, samples: Int64[np.ndarray, " B"]) -> None:
        """Reads rows and forgets them."""

    def __getitem__(self, step: int) -> Any:
        """Reads the share of a step."""


class Warmed(Dataset[T_co]):
    """Fetches a step's rows at one time, and those of the next steps while it is used.

    A row is fetched by reading it and forgetting it: its blocks are then on this machine's disk,
    whatever it is made of.

    Args:
        steps: The dataset.
        stop: One past the last step.
        ahead: Steps that are fetched before they are asked for.
        connections: Rows that are fetched at one time.
    """

    def __init__(self, steps: Steps, *, stop: int, ahead: int, connections: int) -> None:
        self.steps = steps
        self.stop = stop
        self.ahead = ahead
        self.connections = connections
        self._pool: ThreadPoolExecutor | None = None
        self._coming: dict[int, list[Future[None]]] = {}

    def __len__(self) -> int:
        """Counts the steps."""
        return self.stop

    def __getitem__(self, step: int) -> T_co:
        """Reads the share of a step.

        Raises:
            DataError: A row cannot be fetched; the rows that still wait are given up.
        """
        for coming in range(step, min(step + 1 + self.ahead, self.stop)):
            if coming not in self._coming:
                self._coming[coming] = self._fetching(coming)
        try:
            for row in self._coming.pop(step):
                row.result()
        except BaseException:
            _give_up(row for rows in self._coming.values() for row in rows)
            self._coming.clear()
            raise
        self._forget_all_before(step)
        item: T_co = self.steps[step]
        return item

    def _fetching(self, step: int) -> list[Future[None]]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.connections, "fetch")
            weakref.finalize(self, self._pool.shutdown, wait=False, cancel_futures=True)
        rows = self.steps.samples(step)
        each = rows[rows >= 0][:, None]
        return [self._pool.submit(self.steps.look_at, row) for row in each]

    def _forget_all_before(self, step: int) -> None:
        """Drops what a reader that jumped ahead did not ask for."""
        for passed in [number for number in self._coming if number < step]:
            _give_up(self._coming.pop(passed))


def warmed(dataset: Any, streamed: Sequence[Streamed], stop: int) -> Any:
    """Wraps a dataset of steps whose rows lie in object stores; others stay as they are."""
    if not streamed:
        return dataset
    ahead = max(each.steps_ahead for each in streamed)
    connections = max(each.connections for each in streamed)
    return Warmed(dataset, stop=stop, ahead=ahead, connections=connections)


def _give_up(rows: Iterable[Future[None]]) -> None:
    for row in rows:
        row.cancel()
