"""Documents packed into rows so that none that fits is cut: best fit, the longest first.

Shape letters: P pieces (documents, and what is left of long ones), R rows, T tokens in a row.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from roots.data.windows import TokenSpan

DOCUMENTS_TOGETHER = 2**22
"""So many documents are packed at a time, which bounds the memory and leaves one row unfilled."""


class Pieces(NamedTuple):
    """Stretches of tokens, each of one document.

    Args:
        starts: Their first tokens, (P,).
        sizes: How many tokens they have, (P,).
    """

    starts: Int64[np.ndarray, " P"]
    sizes: Int64[np.ndarray, " P"]


def cut(starts: Int64[np.ndarray, " D"], sizes: Int64[np.ndarray, " D"], seq_len: int) -> Pieces:
    """Cuts documents that are longer than a row every `seq_len` tokens; the others stay whole."""
    counts = -(-sizes // seq_len)
    document = np.repeat(np.arange(len(sizes)), counts)  # P
    nth = np.arange(len(document)) - np.repeat(counts.cumsum() - counts, counts)
    left = sizes[document] - nth * seq_len
    return Pieces(starts[document] + nth * seq_len, np.minimum(left, seq_len))


def best_fit_decreasing(sizes: Int64[np.ndarray, " P"], room: int) -> Int64[np.ndarray, " P"]:
    """Puts pieces into as few rows as best fit does: each, the longest first, where least is left.

    Pieces of one size are placed together. The row where least is left stays that row while more
    of them fit, so those of the same size fill all rows with the same room in one stroke: sorting
    costs more than packing, and nothing depends on chance.

    Args:
        sizes: Tokens of each piece, 1 to `room`.
        room: Tokens of a row.

    Returns:
        The row of each piece; rows are numbered from 0.

    Source:
        Ding et al., "Fewer truncations improve language modeling", arXiv:2404.10830, section 3.
    """
    order = np.argsort(-sizes, kind="stable")
    rows = np.empty(len(sizes), dtype=np.int64)
    open_ = _OpenRows(room)
    of_size = np.bincount(sizes, minlength=room + 1)
    done = 0
    for size in np.flatnonzero(of_size)[::-1].tolist():
        alike = order[done : done + int(of_size[size])]
        rows[alike] = open_.place(size, len(alike))
        done += len(alike)
    return rows


class _OpenRows:
    """The rows that are not full, by how much room is left in them."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.n_rows = 0
        self._by_room: dict[int, list[Int64[np.ndarray, " n"]]] = {}
        self._rooms: list[int] = []  # those that occur, rising

    def place(self, size: int, n: int) -> Int64[np.ndarray, " n"]:
        """Places `n` pieces of one size; gives the row of each."""
        placed = []
        while n:
            room, rows = self._take_tightest(size, n)
            each = room // size
            full, rest = divmod(min(n, len(rows) * each), each)
            placed += [np.repeat(rows[:full], each), np.repeat(rows[full : full + 1], rest)]
            self._put(room - each * size, rows[:full])
            self._put(room - rest * size, rows[full : full + 1])
            self._put(room, rows[full + 1 :])
            n -= full * each + rest
        return np.concatenate(placed)

    def _take_tightest(self, size: int, n: int) -> tuple[int, Int64[np.ndarray, " n"]]:
        """Takes out the rows with the least room that is enough; new ones where there are none."""
        at = bisect.bisect_left(self._rooms, size)
        if at < len(self._rooms):
            room = self._rooms.pop(at)
            return room, np.concatenate(self._by_room.pop(room))
        n_new = -(-n // (self.room // size))
        first, self.n_rows = self.n_rows, self.n_rows + n_new
        return self.room, np.arange(first, self.n_rows)

    def _put(self, room: int, rows: Int64[np.ndarray, " n"]) -> None:
        if not len(rows) or not room:
            return
        if room not in self._by_room:
            bisect.insort(self._rooms, room)
        self._by_room.setdefault(room, []).append(rows)


class Packed(NamedTuple):
    """Pieces in rows, those of a row in the order of the text.

    Args:
        starts: The first token of each piece, (P,).
        sizes: Its tokens, (P,).
        ends: Behind which piece each row ends, (R,).
    """

    starts: Int64[np.ndarray, " P"]
    sizes: Int64[np.ndarray, " P"]
    ends: Int64[np.ndarray, " R"]


def pack(starts: Int64[np.ndarray, " D"], sizes: Int64[np.ndarray, " D"], seq_len: int) -> Packed:
    """Packs documents into rows."""
    pieces = cut(starts, sizes, seq_len)
    rows = best_fit_decreasing(pieces.sizes, seq_len)
    by_row = np.argsort(rows, kind="stable")  # the pieces are in the order of the text
    ends = np.bincount(rows).cumsum() if len(rows) else rows
    return Packed(pieces.starts[by_row], pieces.sizes[by_row], ends)


def pack_span(span: TokenSpan, seq_len: int) -> Iterator[Packed]:
    """Packs the documents of a stretch of tokens, so many at a time; one that is torn, as it is."""
    if not len(span):
        return
    begin, end = (span.shard.document_of(token) for token in (span.start, span.stop - 1))
    for first in range(begin, end + 1, DOCUMENTS_TOGETHER):
        stop = min(first + DOCUMENTS_TOGETHER, end + 1)
        starts = span.shard.document_starts[first:stop]
        behind = span.stop if stop > end else span.shard.document_starts[stop]
        starts = np.maximum(starts, span.start)
        yield pack(starts, np.diff(starts, append=behind), seq_len)
