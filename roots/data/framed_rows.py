"""Rows for masked language models, with the special tokens that such a network expects around them.

Three ways to cut a stretch of tokens into rows of at most T:

    StreamRows     [CLS] T - 2 tokens of the stream [SEP]: full rows, documents side by side
    DocumentRows   [CLS] a document [SEP]: as many rows as it needs, filled up
    PackedRows     [CLS] … [SEP] [CLS] … [SEP]: full rows, documents kept apart

Where a row is, is known without those before it. Shape letters: B rows, T tokens in a row,
R rows in all, D documents.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from roots.data.best_fit import cut
from roots.data.windows import TokenSpan

NO_DOCUMENT = -1
"""The document of what fills a packed row up."""


class Frame(NamedTuple):
    """The special tokens around a text, by their ids.

    Args:
        begin: `[CLS]`, `<s>`, …
        end: `[SEP]`, `</s>`, …: it ends a document in the shards as well.
        filler: Fills a row up.
    """

    begin: int
    end: int
    filler: int


class Laid(NamedTuple):
    """Rows under each other.

    Args:
        input_ids: The tokens, (B, T).
        lengths: Tokens of each row, special ones included, (B,).
        document_ids: Which document a token is of, counted in its row, `NO_DOCUMENT` for filler;
            None where documents are not kept apart.
    """

    input_ids: Int64[np.ndarray, "B T"]
    lengths: Int64[np.ndarray, " B"]
    document_ids: Int64[np.ndarray, "B T"] | None = None


@runtime_checkable
class FramedRows(Protocol):
    """A stretch of tokens, cut into rows."""

    def __len__(self) -> int:
        """Counts the rows."""

    def lay(self, rows: Int64[np.ndarray, " B"]) -> Laid:
        """Reads rows; a negative number is a row without text, whose tokens mean nothing."""

    def document_of(self, index: int) -> int:
        """Gives the number of the document that row `index` starts in."""


class StreamRows:
    """Cuts the stream as it is: a row goes on where the one before it ended.

    Args:
        span: The tokens; each document ends with `frame.end`.
        seq_len: T, at least 3.
        keep_last: Keep a last row that is not full.
        frame: The special tokens.

    Source:
        FULL-SENTENCES of Liu et al., arXiv:1907.11692, section 4.2.
    """

    def __init__(self, span: TokenSpan, *, seq_len: int, keep_last: bool, frame: Frame) -> None:
        self.span = span
        self.seq_len = seq_len
        self.frame = frame
        self._room = seq_len - 2
        self._count = _how_many(len(span), self._room, keep_last)

    def __len__(self) -> int:
        """Counts the rows."""
        return self._count

    def lay(self, rows: Int64[np.ndarray, " B"]) -> Laid:
        """Reads rows; a negative number is as long as the others, and no padding: just ends."""
        ids = np.full((len(rows), self.seq_len), self.frame.filler, dtype=np.int64)
        ids[rows < 0] = self.frame.end
        lengths = np.full(len(rows), self.seq_len, dtype=np.int64)
        for line, row in enumerate(rows.tolist()):
            if row >= 0:
                start = self.span.start + row * self._room
                stop = min(start + self._room, self.span.stop)
                lengths[line] = _frame(ids[line], self.span, start, stop, self.frame)
        return Laid(ids, lengths)

    def document_of(self, index: int) -> int:
        """Gives the number of the document that row `index` starts in."""
        return self.span.shard.document_of(self.span.start + index * self._room)


class DocumentRows:
    """Gives each document a row of its own, or several where it is longer.

    The rows' places are kept in memory, 16 bytes for each.

    Args:
        span: The tokens; the end of a document is left out where it is `frame.end`.
        seq_len: T at most, at least 3.
        frame: The special tokens.
    """

    def __init__(self, span: TokenSpan, *, seq_len: int, frame: Frame) -> None:
        self.span = span
        self.frame = frame
        self._starts, self._sizes = cut(*_contents(span, frame.end), seq_len - 2)  # R

    def __len__(self) -> int:
        """Counts the rows."""
        return len(self._starts)

    @property
    def lengths(self) -> Int64[np.ndarray, " R"]:
        """Counts the tokens of every row, special ones included."""
        return self._sizes + 2

    def lay(self, rows: Int64[np.ndarray, " B"]) -> Laid:
        """Reads rows, filled up to the longest; a negative number is filler, one token long."""
        lengths = np.where(rows >= 0, self._sizes[rows] + 2, 1)
        ids = np.full((len(rows), int(lengths.max())), self.frame.filler, dtype=np.int64)
        for line, row in enumerate(rows.tolist()):
            if row >= 0:
                start = int(self._starts[row])
                _frame(ids[line], self.span, start, start + int(self._sizes[row]), self.frame)
        return Laid(ids, lengths)

    def document_of(self, index: int) -> int:
        """Gives the number of the document that row `index` is of."""
        return self.span.shard.document_of(int(self._starts[index]))


class PackedRows:
    """Lays framed documents side by side into full rows, and tells them apart.

    The stream is thought of with a `begin` before each document, and cut every T - 2 tokens. What a
    cut tears apart is framed on both sides of it, for which the two tokens are left: a row is at
    most two tokens short, and is found by a search for its first document.

    Args:
        span: The tokens; each document ends with `frame.end`.
        seq_len: T, at least 3.
        keep_last: Keep a last row that is not full.
        frame: The special tokens.
    """

    def __init__(self, span: TokenSpan, *, seq_len: int, keep_last: bool, frame: Frame) -> None:
        self.span = span
        self.seq_len = seq_len
        self.frame = frame
        self._room = seq_len - 2
        self._first, self._n_documents = _documents(span)
        n_framed = len(span) + self._n_documents
        self._count = _how_many(n_framed, self._room, keep_last)

    def __len__(self) -> int:
        """Counts the rows."""
        return self._count

    def lay(self, rows: Int64[np.ndarray, " B"]) -> Laid:
        """Reads rows; a negative number is all filler."""
        shape = (len(rows), self.seq_len)
        ids = np.full(shape, self.frame.filler, dtype=np.int64)
        document_ids = np.full(shape, NO_DOCUMENT, dtype=np.int64)
        lengths = np.zeros(len(rows), dtype=np.int64)
        for line, row in enumerate(rows.tolist()):
            if row >= 0:
                lengths[line] = self._fill(ids[line], document_ids[line], row)
        return Laid(ids, lengths, document_ids)

    def document_of(self, index: int) -> int:
        """Gives the number of the document that row `index` starts in."""
        return self._first + self._nth_at(index * self._room)

    def _fill(
        self, ids: Int64[np.ndarray, " T"], document_ids: Int64[np.ndarray, " T"], row: int
    ) -> int:
        filled = 0
        for number, tokens in enumerate(self._pieces(row)):
            ids[filled] = self.frame.begin
            ids[filled + 1 : filled + 1 + len(tokens)] = tokens
            document_ids[filled : filled + 1 + len(tokens)] = number
            filled += 1 + len(tokens)
        if filled and ids[filled - 1] != self.frame.end:  # the last document goes on elsewhere
            ids[filled] = self.frame.end
            document_ids[filled] = document_ids[filled - 1]
            filled += 1
        return filled

    def _pieces(self, row: int) -> Iterator[Int64[np.ndarray, " n"]]:
        """Gives the tokens of each document in a row, without those that hold no text."""
        start, stop = row * self._room, (row + 1) * self._room
        nth = self._nth_at(start)
        while nth < self._n_documents and self._framed_at(nth) < stop:
            begin = self._token_at(nth)
            low = max(start - self._framed_at(nth), 1) - 1  # without the `begin`
            high = stop - self._framed_at(nth) - 1
            end = min(begin + high, self._token_at(nth + 1))
            tokens = np.asarray(self.span.shard.tokens[begin + low : end], dtype=np.int64)
            if len(tokens) and not (len(tokens) == 1 and tokens[0] == self.frame.end):
                yield tokens
            nth += 1

    def _nth_at(self, framed: int) -> int:
        """Finds the document, counted in the span, that holds a place of the framed stream."""
        return bisect.bisect_right(range(self._n_documents), framed, key=self._framed_at) - 1

    def _framed_at(self, nth: int) -> int:
        """Tells where a document begins in the framed stream: with its own `begin`."""
        return self._token_at(nth) - self.span.start + nth

    def _token_at(self, nth: int) -> int:
        """Tells the token with which a document of the span begins; the span's end behind all."""
        if nth >= self._n_documents:
            return self.span.stop
        return max(self.span.shard.document_starts[self._first + nth], self.span.start)


def _how_many(n_tokens: int, room: int, keep_last: bool) -> int:
    return -(-n_tokens // room) if keep_last else n_tokens // room


def _documents(span: TokenSpan) -> tuple[int, int]:
    """Gives the first document of a span and how many there are, torn ones included."""
    if not len(span):
        return 0, 0
    first = span.shard.document_of(span.start)
    return first, span.shard.document_of(span.stop - 1) + 1 - first


def _contents(span: TokenSpan, end: int) -> tuple[Int64[np.ndarray, " D"], Int64[np.ndarray, " D"]]:
    """Gives where each document of a span begins and how many tokens it has, without its end."""
    first, n_documents = _documents(span)
    starts = np.array(span.shard.document_starts[first : first + n_documents], dtype=np.int64)
    stops = np.append(starts[1:], span.stop)[: len(starts)]
    starts = np.maximum(starts, span.start)
    closed = np.asarray(span.shard.tokens[stops - 1]) == end
    return starts, stops - starts - closed


def _frame(
    line: Int64[np.ndarray, " T"], span: TokenSpan, start: int, stop: int, frame: Frame
) -> int:
    """Lays the tokens from `start` to before `stop` between `begin` and `end`; counts all."""
    size = stop - start
    line[0] = frame.begin
    line[1 : 1 + size] = span.shard.tokens[start:stop]
    line[1 + size] = frame.end
    return size + 2
