"""One loader item is one optimizer step's share; there is no loader state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from torch.utils.data import DataLoader, Dataset, Sampler

from roots.batch import IGNORE, TokenBatch
from roots.data.joined import Batches
from roots.data.read_ahead import AheadLoader
from roots.data.streams import Order, Stream
from roots.data.windows import TokenRows
from roots.errors import ConfigError


@dataclass(frozen=True)
class Share:
    """The rows of a step that one rank reads.

    Args:
        rank: Which share, from 0.
        rows: Rows in each share of a full step.
        ranks: How many shares there are.
    """

    rank: int
    rows: int
    ranks: int = 1

    @property
    def places(self) -> slice:
        """The rows' places in the step."""
        return slice(self.rank * self.rows, (self.rank + 1) * self.rows)

    def of(self, rows: Int64[np.ndarray, " S"]) -> Int64[np.ndarray, " B"]:
        """Gives this rank's part of the rows of a step, which may have fewer than a full one."""
        n_mine = len(rows) // self.ranks
        return rows[self.rank * n_mine : (self.rank + 1) * n_mine]


def share_of(
    sequences_per_step: int, *, rank: int, ranks: int, name: str = "sequences_per_step"
) -> Share:
    """Cuts the sequences of a step into one equal share per rank.

    Args:
        sequences_per_step: How many there are.
        rank: Which share.
        ranks: How many shares.
        name: The setting that says how many there are, for the message.

    Raises:
        ConfigError: The ranks do not divide them.
    """
    if sequences_per_step % ranks:
        below = sequences_per_step // ranks * ranks
        nearest = f"{below:,} or {below + ranks:,}" if below else f"{ranks:,}"
        raise ConfigError(
            f"{name}={sequences_per_step:,} cannot be shared by {ranks} ranks without"
            f" a rest. Set data.{name} to {nearest}."
        )
    return Share(rank, sequences_per_step // ranks, ranks)


class TrainSteps(Dataset[TokenBatch]):
    """Item n is this rank's share of the n-th optimizer step, a pure function of (seed, n)."""

    def __init__(
        self,
        rows: TokenRows,
        token_bytes: Int64[np.ndarray, " V"],
        *,
        stream: Stream,
        order: Order,
        share: Share,
    ) -> None:
        self.rows = rows
        self.token_bytes = token_bytes
        self.stream = stream
        self.order = order
        self.share = share

    def samples(self, step: int) -> Int64[np.ndarray, " B"]:
        """Gives the rows of this rank's share of a step."""
        return self.stream.draw(self.share.of(self.order.positions(step))).samples

    def look_at(self, samples: Int64[np.ndarray, " B"]) -> None:
        """Reads rows and forgets them."""
        _look_at(self.rows, samples)

    def __getitem__(self, step: int) -> TokenBatch:
        """Reads the share of a step."""
        return _batch(self.rows, self.token_bytes, self.samples(step), step)


class ValidationSteps(Dataset[TokenBatch]):
    """Rows of a split, in as many equal batches on every rank."""

    def __init__(
        self,
        rows: TokenRows,
        token_bytes: Int64[np.ndarray, " V"],
        *,
        batches: Batches,
        share: Share,
    ) -> None:
        self.rows = rows
        self.token_bytes = token_bytes
        self.batches = batches
        self.share = share

    def __len__(self) -> int:
        """Counts the batches, the same on every rank."""
        return len(self.batches)

    def samples(self, index: int) -> Int64[np.ndarray, " B"]:
        """Gives the rows of this rank's share of a batch."""
        return self.batches.rows(index)[self.share.places]

    def look_at(self, samples: Int64[np.ndarray, " B"]) -> None:
        """Reads rows and forgets them."""
        _look_at(self.rows, samples)

    def __getitem__(self, index: int) -> TokenBatch:
        """Reads this rank's share of a batch; rows past the end are filler."""
        return _batch(self.rows, self.token_bytes, self.samples(index), index)


class StepsFrom(Sampler[int]):
    """Steps from the one that comes next to the last; it asks for the first when it starts."""

    def __init__(self, first: Callable[[], int], stop: int) -> None:
        self.first = first
        self.stop = stop

    def __iter__(self) -> Iterator[int]:
        """Counts from the next step on."""
        return iter(range(self.first(), self.stop))

    def __len__(self) -> int:
        """Counts the steps of the whole run, those behind us included."""
        return self.stop


def step_loader(
    dataset: Dataset[TokenBatch], sampler: Sampler[int] | None, *, pin: bool
) -> DataLoader[TokenBatch]:
    """Wraps a dataset of steps for Lightning: an item is a batch already, and is read ahead."""
    return AheadLoader(dataset, batch_size=None, sampler=sampler, pin_memory=pin)


def _look_at(rows: TokenRows, samples: Int64[np.ndarray, " B"]) -> None:
    rows.read(samples)
    if rows.apart:
        rows.document_ids(samples)


def _batch(
    rows: TokenRows,
    token_bytes: Int64[np.ndarray, " V"],
    samples: Int64[np.ndarray, " B"],
    step: int,
) -> TokenBatch:
    inputs, labels = rows.read(samples)
    n_bytes = labelled_bytes(labels, token_bytes)
    return TokenBatch(
        input_ids=torch.from_numpy(inputs),
        labels=torch.from_numpy(labels),
        samples=torch.from_numpy(samples),
        step=step,
        n_bytes=torch.from_numpy(n_bytes),
        document_ids=torch.from_numpy(rows.document_ids(samples)) if rows.apart else None,
    )


def labelled_bytes(
    labels: Int64[np.ndarray, "B T"], token_bytes: Int64[np.ndarray, " V"]
) -> Int64[np.ndarray, " B"]:
    """Counts the UTF-8 bytes that the labelled tokens of each row stand for."""
    labelled = labels != IGNORE
    n_bytes: Int64[np.ndarray, " B"] = np.where(
        labelled, token_bytes[np.where(labelled, labels, 0)], 0
    ).sum(1)
    return n_bytes
