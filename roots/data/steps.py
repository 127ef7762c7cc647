"""One loader item is one optimizer step's share; there is no loader state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from torch.utils.data import DataLoader, Dataset, Sampler

from roots.batch import IGNORE, TokenBatch
from roots.data.order import samples_at
from roots.data.read_ahead import AheadLoader
from roots.data.windows import Windows
from roots.errors import ConfigError


@dataclass(frozen=True)
class Share:
    """The rows of a step that one rank reads.

    Args:
        rank: Which share, from 0.
        rows: Rows in each share.
    """

    rank: int
    rows: int

    @property
    def places(self) -> slice:
        """The rows' places in the step."""
        return slice(self.rank * self.rows, (self.rank + 1) * self.rows)


def share_of(sequences_per_step: int, *, rank: int, ranks: int) -> Share:
    """Cuts the sequences of a step into one equal share per rank.

    Raises:
        ConfigError: The ranks do not divide them.
    """
    if sequences_per_step % ranks:
        below = sequences_per_step // ranks * ranks
        nearest = f"{below:,} or {below + ranks:,}" if below else f"{ranks:,}"
        raise ConfigError(
            f"sequences_per_step={sequences_per_step:,} cannot be shared by {ranks} ranks without"
            f" a rest. Set data.sequences_per_step to {nearest}."
        )
    return Share(rank, sequences_per_step // ranks)


class TrainSteps(Dataset[TokenBatch]):
    """Item n is this rank's share of the n-th optimizer step, a pure function of (seed, n)."""

    def __init__(
        self,
        windows: Windows,
        token_bytes: Int64[np.ndarray, " V"],
        *,
        share: Share,
        sequences_per_step: int,
        seed: int,
    ) -> None:
        self.windows = windows
        self.token_bytes = token_bytes
        self.share = share
        self.sequences_per_step = sequences_per_step
        self.seed = seed

    def samples(self, step: int) -> Int64[np.ndarray, " B"]:
        """Gives the windows of this rank's share of a step."""
        first = step * self.sequences_per_step
        positions = np.arange(first, first + self.sequences_per_step, dtype=np.int64)
        mine = positions[self.share.places]
        return samples_at(mine, n_samples=len(self.windows), seed=self.seed)

    def __getitem__(self, step: int) -> TokenBatch:
        """Reads the share of a step."""
        return _batch(self.windows, self.token_bytes, self.samples(step), step)


class ValidationSteps(Dataset[TokenBatch]):
    """All validation windows in order, in as many equal batches on every rank."""

    def __init__(
        self,
        windows: Windows,
        token_bytes: Int64[np.ndarray, " V"],
        *,
        share: Share,
        ranks: int,
        n_windows: int,
    ) -> None:
        self.windows = windows
        self.token_bytes = token_bytes
        self.share = share
        self.ranks = ranks
        self.n_windows = n_windows

    def __len__(self) -> int:
        """Counts the batches, the same on every rank."""
        return math.ceil(self.n_windows / (self.share.rows * self.ranks))

    def __getitem__(self, index: int) -> TokenBatch:
        """Reads this rank's share of a batch; rows past the end are filler."""
        if index >= len(self):
            raise IndexError(index)
        rows = self.share.rows * self.ranks
        here = np.arange(index * rows, (index + 1) * rows, dtype=np.int64)[self.share.places]
        here[here >= self.n_windows] = -1
        return _batch(self.windows, self.token_bytes, here, index)


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


def _batch(
    windows: Windows, token_bytes: Int64[np.ndarray, " V"], rows: Int64[np.ndarray, " B"], step: int
) -> TokenBatch:
    inputs, labels = windows.read(rows)
    n_bytes = labelled_bytes(labels, token_bytes)
    return TokenBatch(
        input_ids=torch.from_numpy(inputs),
        labels=torch.from_numpy(labels),
        samples=torch.from_numpy(rows),
        step=step,
        n_bytes=torch.from_numpy(n_bytes),
        document_ids=torch.from_numpy(windows.document_ids(rows)) if windows.apart else None,
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
