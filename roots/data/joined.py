"""The rows of several corpora as one: numbered through, in batches of one corpus for validation.

Shape letters: B rows, T tokens in a row, K corpora.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from roots.data.framed_rows import FramedRows, Laid
from roots.data.windows import TokenRows


@runtime_checkable
class Sequences(Protocol):
    """The rows that a stretch of tokens is cut into."""

    def __len__(self) -> int:
        """Counts them."""

    def document_of(self, index: int) -> int:
        """Gives the number of the document that row `index` starts in."""


class Joined:
    """Numbers the rows of several corpora through.

    Args:
        parts: The rows of each.
    """

    def __init__(self, parts: Sequence[Any]) -> None:
        self.parts = parts
        self.firsts = np.cumsum([0, *map(len, parts)]).tolist()  # K + 1

    def __len__(self) -> int:
        """Counts the rows."""
        return int(self.firsts[-1])

    def part_of(self, index: int) -> int:
        """Gives the number of the corpus that row `index` is of."""
        return bisect.bisect_right(self.firsts, index) - 1

    def document_of(self, index: int) -> int:
        """Gives the number, in its own corpus, of the document that row `index` starts in."""
        part = self.part_of(index)
        found: int = self.parts[part].document_of(index - self.firsts[part])
        return found

    def _by_part(
        self, indices: Int64[np.ndarray, " B"]
    ) -> Iterator[tuple[Any, Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]]:
        """Gives each part with the places that its rows have among B, and their own numbers.

        What is negative, and no row, goes to the first part.
        """
        numbers = np.maximum(np.searchsorted(self.firsts, indices, side="right") - 1, 0)
        for number in np.unique(numbers).tolist():
            here = np.flatnonzero(numbers == number)
            own = np.where(indices[here] < 0, -1, indices[here] - self.firsts[number])
            yield self.parts[number], here, own


class JoinedTokens(Joined):
    """Reads rows with their targets from several corpora.

    Args:
        parts: The rows of each, of one length.
    """

    def __init__(self, parts: Sequence[TokenRows]) -> None:
        super().__init__(parts)
        self.seq_len = parts[0].seq_len
        self.apart = parts[0].apart

    def read(
        self, indices: Int64[np.ndarray, " B"]
    ) -> tuple[Int64[np.ndarray, "B T"], Int64[np.ndarray, "B T"]]:
        """Reads rows: the inputs and the target of each; a negative index is all filler."""
        inputs = np.empty((len(indices), self.seq_len), dtype=np.int64)
        labels = np.empty_like(inputs)
        for part, here, own in self._by_part(indices):
            inputs[here], labels[here] = part.read(own)
        return inputs, labels

    def document_ids(self, indices: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, "B T"]:
        """Numbers the documents within each row, in its inputs; -1 is filler."""
        ids = np.empty((len(indices), self.seq_len), dtype=np.int64)
        for part, here, own in self._by_part(indices):
            ids[here] = part.document_ids(own)
        return ids


class JoinedFramed(Joined):
    """Reads framed rows from several corpora.

    Args:
        parts: The rows of each, of one length.
    """

    def __init__(self, parts: Sequence[FramedRows]) -> None:
        super().__init__(parts)

    def lay(self, rows: Int64[np.ndarray, " B"]) -> Laid:
        """Reads rows; a negative number is a row without text, whose tokens mean nothing."""
        laid = [(here, part.lay(own)) for part, here, own in self._by_part(rows)]
        back = np.argsort(np.concatenate([here for here, _ in laid]))
        ids, lengths, document_ids = zip(*(each for _, each in laid), strict=True)
        return Laid(
            np.concatenate(ids)[back],
            np.concatenate(lengths)[back],
            None if document_ids[0] is None else np.concatenate(document_ids)[back],
        )


class Batches:
    """Cuts groups of rows into batches of one group each; what is missing in the last is -1.

    The rows of a batch are dealt to the ranks in equal numbers, so that none runs filler for what
    another has.

    Args:
        groups: The rows of each group, in their order.
        size: Rows of a batch, over all ranks.
        ranks: How many ranks share it; they divide it.
    """

    def __init__(
        self, groups: Sequence[Int64[np.ndarray, " _"]], size: int, *, ranks: int = 1
    ) -> None:
        self.groups = groups
        self.size = size
        self.ranks = ranks
        counts = [-(-len(group) // size) for group in groups]
        self._firsts = np.cumsum([0, *counts]).tolist()

    def __len__(self) -> int:
        """Counts the batches."""
        return int(self._firsts[-1])

    def group_of(self, batch: int) -> int:
        """Gives the number of the group that a batch is of."""
        return bisect.bisect_right(self._firsts, batch) - 1

    def rows(self, batch: int) -> Int64[np.ndarray, " S"]:
        """Gives the rows of a batch, the shares of the ranks one behind the other.

        Raises:
            IndexError: There is no such batch.
        """
        found = self._found(batch)
        rows = np.full((self.ranks, self.size // self.ranks), -1, dtype=np.int64)
        rows[:, : self.n_read(batch)].flat[: len(found)] = found
        return rows.ravel()

    def n_read(self, batch: int) -> int:
        """Counts the rows of a rank's share, without those behind that are filler on all ranks."""
        return -(-len(self._found(batch)) // self.ranks)

    def _found(self, batch: int) -> Int64[np.ndarray, " _"]:
        if not 0 <= batch < len(self):
            raise IndexError(batch)
        group = self.group_of(batch)
        first = (batch - self._firsts[group]) * self.size
        return self.groups[group][first : first + self.size]


def in_turn(
    counts: Sequence[int], at_most: int, size: int, *, ranks: int = 1, spread: bool = False
) -> Batches:
    """Cuts the rows of several corpora into batches, in their order.

    Args:
        counts: Rows of each corpus.
        at_most: How many of the rows of each are read; 0 means all.
        size: Rows of a batch, over all ranks.
        ranks: How many ranks share it.
        spread: Where not all are read, take some all over the rows, instead of the first ones.
    """
    groups, firsts = [], np.cumsum([0, *counts])[:-1]
    for first, count in zip(firsts.tolist(), counts, strict=True):
        few = min(count, at_most or count)
        rows = np.arange(few, dtype=np.int64)
        groups.append(first + ((2 * rows + 1) * count // (2 * few) if spread else rows))
    return Batches(groups, size, ranks=ranks)
