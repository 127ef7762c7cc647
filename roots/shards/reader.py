"""Shard: one split, mapped or streamed; opening costs the same for 1,000 tokens and for 10^12."""

from __future__ import annotations

import bisect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from roots.errors import DataError
from roots.shards.layout import REBUILD, Layout, check_size, mapped, read_layout
from roots.shards.stored_array import StoredArray
from roots.stores import located

Values: TypeAlias = npt.NDArray[Any] | StoredArray
"""Values of a file that are read when they are looked at."""

Opener: TypeAlias = Callable[[Path, npt.DTypeLike, int, int], Values]
"""Gives values of a file: their type, the byte at which they begin, and how many there are."""


class DocumentStarts:
    """The token at which each document begins, in the manner of an int64 array that stays on disk.

    The file counts bytes, so a plain view would be in the wrong unit and a converted one in RAM.

    Args:
        pointers: The starts in bytes, (D,), mapped or streamed.
        itemsize: Bytes of a token.
    """

    def __init__(self, pointers: Values, itemsize: int) -> None:
        self._pointers = pointers
        self._itemsize = itemsize

    def __len__(self) -> int:
        return len(self._pointers)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> npt.NDArray[np.int64]: ...
    def __getitem__(self, index: int | slice) -> int | npt.NDArray[np.int64]:
        if isinstance(index, slice):
            return np.asarray(self._pointers[index]) // self._itemsize
        return int(self._pointers[index]) // self._itemsize

    def count_before(self, position: int) -> int:
        """Counts the documents that begin before token `position`, in log time."""
        return int(self.counts_before(np.array([position]))[0])

    def counts_before(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Counts, for each of some tokens, the documents that begin before it.

        numpy's searchsorted would copy the whole array first, because it is not aligned; and its
        numbers, of which a search makes one a step, take several times as long as Python's.
        """
        searched: Any = self._pointers
        if isinstance(searched, np.ndarray) and sys.byteorder == "little":
            searched = memoryview(searched.view(np.uint8).data).cast("q")
        counts = [bisect.bisect_left(searched, at) for at in (positions * self._itemsize).tolist()]
        return np.array(counts, dtype=np.int64)

    def of_ranges(
        self, firsts: npt.NDArray[np.int64], stops: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Gives the starts of the documents of several ranges, one behind the other."""
        ranges = zip(firsts.tolist(), stops.tolist(), strict=True)
        pieces = [self._pointers[first:stop] for first, stop in ranges]
        return np.concatenate([self._pointers[:0], *pieces], dtype=np.int64) // self._itemsize


class Shard:
    """One split of a corpus: all its tokens in a row, and where the documents begin.

    Args:
        prefix: The path without `.bin` and `.idx`.
        values: Gives the values of a file; on this machine's disk they are mapped.

    Raises:
        DataError: A file is missing, damaged, cut short or of another kind.
    """

    def __init__(self, prefix: str | Path, *, values: Opener = mapped) -> None:
        self.prefix = located(prefix)
        bin_path, idx_path = (_existing(self.prefix, kind) for kind in ("bin", "idx"))
        layout = read_layout(idx_path)
        self.dtype = layout.dtype
        self.n_documents = layout.n_documents
        pointers = values(idx_path, "<i8", layout.pointers_at, layout.n_documents)
        self.n_tokens = _count_tokens(idx_path, layout, pointers, values)
        check_size(bin_path, self.n_tokens * self.dtype.itemsize)
        self.tokens = values(bin_path, self.dtype, 0, self.n_tokens)
        self.document_starts = DocumentStarts(pointers, self.dtype.itemsize)

    def document_of(self, position: int) -> int:
        """Finds the document that token `position` belongs to.

        Raises:
            IndexError: There is no such token.
        """
        if not 0 <= position < self.n_tokens:
            raise IndexError(f"token {position:,} of {self.prefix}, which has {self.n_tokens:,}")
        return self.document_starts.count_before(position + 1) - 1

    def document(self, index: int) -> npt.NDArray[np.integer]:
        """Returns the tokens of document `index`, its closing eos included."""
        start = self.document_starts[index]
        last = index + 1 == self.n_documents
        stop = self.n_tokens if last else self.document_starts[index + 1]
        return np.asarray(self.tokens[start:stop])

    def document_ends(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Finds the last tokens of documents among the tokens `start` to `stop - 1`, in log time.

        Returns:
            Their positions in the split, rising, int64.
        """
        return self.all_document_ends(np.array([start]), np.array([stop]))[1]

    def all_document_ends(
        self, starts: npt.NDArray[np.int64], stops: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Finds the last tokens of documents in several stretches, in log time.

        Args:
            starts: The first token of each, (B,).
            stops: One past its last token; as much as its start where it is empty, (B,).

        Returns:
            For each end the number of its stretch, and its position in the split.
        """
        firsts = self.document_starts.counts_before(starts + 1)
        behind = self.document_starts.counts_before(stops + 1)
        ends = self.document_starts.of_ranges(firsts, behind) - 1
        numbers = np.repeat(np.arange(len(starts)), behind - firsts)
        closing = np.flatnonzero((starts < self.n_tokens) & (self.n_tokens <= stops))
        if len(closing):  # no document begins behind the last one
            numbers = np.append(numbers, closing)
            ends = np.append(ends, np.full(len(closing), self.n_tokens - 1))
        return numbers, ends


def _existing(prefix: Path, kind: str) -> Path:
    path = prefix.with_name(f"{prefix.name}.{kind}")
    if not path.is_file():
        raise DataError(f"{path} does not exist; a shard is a .bin and an .idx file. {REBUILD}")
    return path


def _count_tokens(path: Path, layout: Layout, pointers: Values, values: Opener) -> int:
    """Reads the last document's end, and checks that the index ends as it should."""
    n = layout.n_documents
    if n == 0:
        return 0
    length = values(path, "<i4", layout.pointers_at - 4, 1)
    closing = values(path, "<i8", layout.indices_at + 8 * n, 1)
    if int(pointers[0]) != 0 or int(length[0]) < 1 or int(closing[0]) != n:
        raise DataError(
            f"{path} is damaged: its first document begins at byte {int(pointers[0]):,}"
            f" (expected 0), its last has {int(length[0]):,} tokens (expected 1 or more), and it"
            f" closes with {int(closing[0]):,} (expected {n:,}). {REBUILD}"
        )
    return int(pointers[-1]) // layout.dtype.itemsize + int(length[0])
