"""Which row comes at which place of the endless stream of training rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from roots.data.blending import Blend
from roots.data.order import samples_at


class Drawn(NamedTuple):
    """Rows of a stream.

    Args:
        samples: Their numbers, (S,).
        epochs: How often all rows of a row's corpus were drawn before, (S,).
    """

    samples: Int64[np.ndarray, " S"]
    epochs: Int64[np.ndarray, " S"]


@runtime_checkable
class Stream(Protocol):
    """An endless stream of rows; what comes at a place is known without what is before it."""

    @property
    def shortest_epoch(self) -> int:
        """The fewest rows after which a corpus is shuffled anew."""

    def draw(self, places: Int64[np.ndarray, " S"]) -> Drawn:
        """Gives the rows at places of the stream, counted from 0."""


class Shuffled:
    """Shuffles the rows of one corpus anew in each epoch.

    Args:
        n_rows: Rows of an epoch.
        seed: Decides the order.
    """

    def __init__(self, n_rows: int, seed: int) -> None:
        self.n_rows = n_rows
        self.seed = seed

    @property
    def shortest_epoch(self) -> int:
        """The rows after which they are shuffled anew."""
        return self.n_rows

    def draw(self, places: Int64[np.ndarray, " S"]) -> Drawn:
        """Gives the rows at places of the stream."""
        samples = samples_at(places, n_samples=self.n_rows, seed=self.seed)
        return Drawn(samples, places // self.n_rows)


class Blended:
    """Draws from several corpora by a blend; each is shuffled anew in each of its own epochs.

    Args:
        blend: Says which corpus comes at which place.
        n_rows: Rows of each corpus, by its name; their numbers follow on each other.
        seed: Decides the order, with the name of a corpus.
    """

    def __init__(self, blend: Blend, n_rows: Mapping[str, int], seed: int) -> None:
        self.blend = blend
        self.streams = [Shuffled(n, _seed_of(name, seed)) for name, n in n_rows.items()]
        self._firsts = np.cumsum([0, *n_rows.values()])

    @property
    def shortest_epoch(self) -> int:
        """The fewest rows after which a corpus is shuffled anew."""
        return min(stream.n_rows for stream in self.streams)

    def draw(self, places: Int64[np.ndarray, " S"]) -> Drawn:
        """Gives the rows at places of the stream."""
        samples, epochs = np.empty_like(places), np.empty_like(places)
        found = self.blend.find(places)
        for number, stream in enumerate(self.streams):
            here = found.corpora == number
            drawn = stream.draw(found.nth[here])
            samples[here] = drawn.samples + self._firsts[number]
            epochs[here] = drawn.epochs
        return Drawn(samples, epochs)


def _seed_of(name: str, seed: int) -> int:
    """Makes a corpus's own seed: two of the same size are not read in the same order."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest())


@runtime_checkable
class Order(Protocol):
    """Which places of the stream a step has."""

    def before(self, step: int) -> int:
        """Counts the places of all steps before `step`."""

    def positions(self, step: int) -> Int64[np.ndarray, " S"]:
        """Gives the places of a step, over all ranks."""


class InTurn:
    """Takes the stream as it comes.

    Args:
        rows_per_step: S.
    """

    def __init__(self, rows_per_step: int) -> None:
        self.rows_per_step = rows_per_step

    def before(self, step: int) -> int:
        """Counts the places of all steps before `step`."""
        return step * self.rows_per_step

    def positions(self, step: int) -> Int64[np.ndarray, " S"]:
        """Gives the places of a step."""
        first = step * self.rows_per_step
        return np.arange(first, first + self.rows_per_step, dtype=np.int64)
