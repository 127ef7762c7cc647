"""One loader item is one optimizer step's share; there is no loader state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int64
from torch.utils.data import DataLoader, Dataset, Sampler

from roots.batch import IGNORE, TokenBatch
from roots.data.joined import Batches
from roots.data.lengthening import Lengthening
from roots.data.read_ahead import AheadLoader
from roots.data.streams import Drawn, Order, Stream
from roots.data.windows import TokenRows
from roots.errors import ConfigError, DataError

PLACES_AT_ONCE = 4096
"""Places of the stream that are drawn in one go, over some steps."""


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


class Draws:
    """Gives the rows of this rank's share of each step.

    They are drawn for many steps at once: numpy takes hardly longer for thousands of places than
    for the few of one step. They are of few epochs, each of which is permuted by itself.

    Args:
        stream: Which row comes at which place.
        order: Which places a step has.
        share: This rank's part of them.
    """

    def __init__(self, stream: Stream, order: Order, share: Share) -> None:
        self.stream = stream
        self.order = order
        self.share = share
        at_once = min(
            PLACES_AT_ONCE // share.rows, stream.shortest_epoch // (share.rows * share.ranks)
        )
        self._steps_at_once = max(1, at_once)
        self._known: tuple[int, list[Drawn]] = (-1, [])

    def of(self, step: int) -> Drawn:
        """Gives the rows of the share of a step."""
        block, nth = divmod(step, self._steps_at_once)
        known, drawn = self._known  # read and set as one: two iterators are two threads
        if block != known:
            drawn = self._draw(block * self._steps_at_once)
            self._known = (block, drawn)
        samples, epochs = drawn[nth]
        return Drawn(samples.copy(), epochs.copy())

    def _draw(self, first: int) -> list[Drawn]:
        steps = range(first, first + self._steps_at_once)
        places = [self.share.of(self.order.positions(step)) for step in steps]
        drawn = self.stream.draw(np.concatenate(places))
        cuts = np.cumsum([len(each) for each in places[:-1]])
        pairs = zip(np.split(drawn.samples, cuts), np.split(drawn.epochs, cuts), strict=True)
        return [Drawn(*pair) for pair in pairs]


class TrainSteps(Dataset[TokenBatch]):
    """Item n is this rank's share of the n-th optimizer step, a pure function of (seed, n).

    Args:
        rows: The rows.
        token_bytes: UTF-8 bytes of each token.
        stream: Which row comes at which place.
        order: Which places a step has.
        share: This rank's part of them.
        lengthening: Into how short ones the rows of a step are cut; None leaves them whole.
    """

    def __init__(
        self,
        rows: TokenRows,
        token_bytes: Int64[np.ndarray, " V"],
        *,
        stream: Stream,
        order: Order,
        share: Share,
        lengthening: Lengthening | None = None,
    ) -> None:
        self.rows = rows
        self.lengthening = lengthening
        self.labelled_bytes = LabelledBytes(token_bytes)
        self.draws = Draws(stream, order, share)

    def samples(self, step: int) -> Int64[np.ndarray, " B"]:
        """Gives the rows of this rank's share of a step."""
        return self.draws.of(step).samples

    def look_at(self, samples: Int64[np.ndarray, " B"]) -> None:
        """Reads rows and forgets them."""
        _look_at(self.rows, samples)

    def __getitem__(self, step: int) -> TokenBatch:
        """Reads the share of a step."""
        length = self.lengthening.length(step) if self.lengthening else self.rows.seq_len
        return _batch(self.rows, self.labelled_bytes, self.samples(step), step, length)


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
        self.labelled_bytes = LabelledBytes(token_bytes)
        self.batches = batches
        self.share = share

    def __len__(self) -> int:
        """Counts the batches, the same on every rank."""
        return len(self.batches)

    def samples(self, index: int) -> Int64[np.ndarray, " B"]:
        """Gives the rows of this rank's share of a batch."""
        return self.share.of(self.batches.rows(index))

    def look_at(self, samples: Int64[np.ndarray, " B"]) -> None:
        """Reads rows and forgets them."""
        _look_at(self.rows, samples)

    def __getitem__(self, index: int) -> TokenBatch:
        """Reads this rank's share of a batch; rows past the end are filler."""
        samples, length = self.samples(index), self.rows.seq_len
        batch = _batch(self.rows, self.labelled_bytes, samples, index, length)
        return replace(batch, n_read=self.batches.n_read(index))


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
    labelled_bytes: LabelledBytes,
    samples: Int64[np.ndarray, " B"],
    step: int,
    length: int,
) -> TokenBatch:
    """Reads rows, and cuts each into ones of `length` tokens; a token keeps its target."""
    inputs, labels = (each.reshape(-1, length) for each in rows.read(samples))
    ids = rows.document_ids(samples).reshape(-1, length) if rows.apart else None
    cuts = rows.seq_len // length
    return TokenBatch(
        input_ids=torch.from_numpy(inputs),
        labels=torch.from_numpy(labels),
        samples=torch.from_numpy(samples.repeat(cuts)),
        step=step,
        n_bytes=torch.from_numpy(labelled_bytes.of(labels)),
        document_ids=None if ids is None else torch.from_numpy(ids),
        cuts=cuts,
    )


class LabelledBytes:
    """Counts the UTF-8 bytes that the labelled tokens of rows stand for.

    Args:
        token_bytes: Those of each token, (V,).
    """

    def __init__(self, token_bytes: Int64[np.ndarray, " V"]) -> None:
        self._n_tokens = len(token_bytes)
        # IGNORE is negative, so it finds the first of the zeros behind them
        self._table = np.append(token_bytes, np.zeros(-IGNORE, dtype=np.int64))

    def of(self, labels: Int64[np.ndarray, "B T"]) -> Int64[np.ndarray, " B"]:
        """Counts the bytes of each row.

        Raises:
            DataError: A label is no token of the vocabulary.
        """
        most = int(labels.max(initial=IGNORE))
        if most >= self._n_tokens:
            raise DataError(
                f"The data hold the id {most:,}, but the tokenizer has {self._n_tokens:,} tokens."
                " Give the tokenizer that made the ids, or build the shards again with it."
            )
        n_bytes: Int64[np.ndarray, " B"] = self._table.take(labels).sum(1)
        return n_bytes
