"""Fixed-length windows over a stretch of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from jaxtyping import Int64

from roots.batch import IGNORE
from roots.shards import Shard


@dataclass(frozen=True)
class TokenSpan:
    """A stretch of a shard.

    Args:
        shard: The token file.
        start: First token.
        stop: One past the last token.
        fingerprint: That of the folder of shards; empty where nothing is kept of the stretch.
    """

    shard: Shard
    start: int
    stop: int
    fingerprint: str = ""

    def __len__(self) -> int:
        """Counts the tokens."""
        return self.stop - self.start

    @property
    def n_documents(self) -> int:
        """Counts the documents, those that begin before the stretch or end behind it included."""
        if not len(self):
            return 0
        return self.shard.document_of(self.stop - 1) + 1 - self.shard.document_of(self.start)


@runtime_checkable
class TokenRows(Protocol):
    """Rows of T tokens, each with its target."""

    seq_len: int
    """T."""

    apart: bool
    """Whether the documents of a row are kept apart."""

    def __len__(self) -> int:
        """Counts the rows."""

    def read(
        self, indices: Int64[np.ndarray, " B"]
    ) -> tuple[Int64[np.ndarray, "B T"], Int64[np.ndarray, "B T"]]:
        """Reads rows: the inputs and the target of each; a negative index is all filler."""

    def document_ids(self, indices: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, "B T"]:
        """Numbers the documents within each row, in its inputs; -1 is filler."""

    def document_of(self, index: int) -> int:
        """Gives the number of the document that row `index` starts in."""


class Windows:
    """Cuts a stretch of tokens into windows of `seq_len` inputs, each with its targets.

    Window i reads the tokens from i·T on; its targets are those one further, so the windows share
    no input and leave out no target. The last token of a document has no target.

    Args:
        span: The tokens.
        seq_len: Inputs in a window, T.
        keep_last: Keep a last window that is not full; it is filled up with `filler`, unlabelled.
        filler: The token that fills up.
        apart: Whether the documents of a window are kept apart: `document_ids` tells them.
    """

    def __init__(
        self, span: TokenSpan, *, seq_len: int, keep_last: bool, filler: int, apart: bool = False
    ) -> None:
        self.span = span
        self.seq_len = seq_len
        self.filler = filler
        self.apart = apart
        predicted = max(len(span) - 1, 0)  # the last token is only ever a target
        self._count = -(-predicted // seq_len) if keep_last else predicted // seq_len

    def __len__(self) -> int:
        """Counts the windows."""
        return self._count

    def read(
        self, indices: Int64[np.ndarray, " B"]
    ) -> tuple[Int64[np.ndarray, "B T"], Int64[np.ndarray, "B T"]]:
        """Reads windows: the inputs and the target of each; a negative index is all filler."""
        starts, stops = self._inputs(indices)
        tokens = np.zeros((len(indices), self.seq_len + 1), dtype=self.span.shard.dtype)
        for row, start, stop in zip(tokens, starts.tolist(), stops.tolist(), strict=True):
            if start < stop:
                self._fill(row, start, stop + 1)
        inputs, labels = tokens[:, :-1].astype(np.int64), tokens[:, 1:].astype(np.int64)
        rows, ends = self.span.shard.all_document_ends(starts, stops)
        labels[rows, ends - starts[rows]] = IGNORE
        if behind := self._behind(starts, stops):
            inputs[behind], labels[behind] = self.filler, IGNORE
        return inputs, labels

    def document_ids(self, indices: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, "B T"]:
        """Numbers the documents within each window, in its inputs; -1 is filler."""
        starts, stops = self._inputs(indices)
        rows, ends = self.span.shard.all_document_ends(starts, np.maximum(stops - 1, starts))
        begins = np.zeros((len(indices), self.seq_len), dtype=np.int64)
        begins[rows, ends + 1 - starts[rows]] = 1
        ids: Int64[np.ndarray, "B T"] = begins.cumsum(1)
        if behind := self._behind(starts, stops):
            ids[behind] = -1
        return ids

    def document_of(self, index: int) -> int:
        """Gives the number of the document that window `index` starts in."""
        return self.span.shard.document_of(self.span.start + index * self.seq_len)

    def _fill(self, row: npt.NDArray[np.integer], start: int, stop: int) -> None:
        row[: stop - start] = self.span.shard.tokens[start:stop]

    def _inputs(
        self, indices: Int64[np.ndarray, " B"]
    ) -> tuple[Int64[np.ndarray, " B"], Int64[np.ndarray, " B"]]:
        """Gives where the inputs of windows start and stop; those of a negative index are none."""
        starts = self.span.start + np.maximum(indices, 0) * self.seq_len
        ends = np.minimum(starts + self.seq_len, self.span.stop - 1)  # targets end at span.stop
        return starts, np.where(indices < 0, starts, ends)

    def _behind(
        self, starts: Int64[np.ndarray, " B"], stops: Int64[np.ndarray, " B"]
    ) -> tuple[Int64[np.ndarray, " N"], ...]:
        """Gives the rows and columns of the places behind the inputs; nothing without any."""
        sizes = stops - starts
        if sizes.min(initial=self.seq_len) == self.seq_len:
            return ()
        return np.nonzero(np.arange(self.seq_len) >= sizes[:, None])
