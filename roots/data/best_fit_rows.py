"""Rows of whole documents: none that fits is cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int64

from roots.batch import IGNORE
from roots.data.packing_plan import packing_of
from roots.data.windows import TokenSpan


class BestFitRows:
    """Lays documents into rows of `seq_len` inputs, each with its targets.

    Every token is the input of one place. Its target is the next token of its document, also where
    a document that is longer than a row goes on in another; the last has none.

    Args:
        span: The tokens.
        seq_len: Inputs in a row, T.
        filler: The token that fills up.
        apart: Whether the documents of a row are kept apart: `document_ids` tells them.
    """

    def __init__(self, span: TokenSpan, *, seq_len: int, filler: int, apart: bool) -> None:
        self.span = span
        self.seq_len = seq_len
        self.filler = filler
        self.apart = apart
        self._packed = packing_of(span, seq_len)

    def __len__(self) -> int:
        """Counts the rows."""
        return len(self._packed.ends)

    @property
    def filled(self) -> float:
        """The share of the places that have a token, 0 to 1."""
        return len(self.span) / max(len(self) * self.seq_len, 1)

    def read(
        self, indices: Int64[np.ndarray, " B"]
    ) -> tuple[Int64[np.ndarray, "B T"], Int64[np.ndarray, "B T"]]:
        """Reads rows: the inputs and the target of each; a negative index is all filler."""
        inputs = np.full((len(indices), self.seq_len), self.filler, dtype=np.int64)
        labels = np.full((len(indices), self.seq_len), IGNORE, dtype=np.int64)
        pieces = [list(self._pieces(index)) for index in indices.tolist()]
        closing = iter(
            self._end_documents([start + size - 1 for row in pieces for start, size in row])
        )
        for line, row in enumerate(pieces):
            at = 0
            for start, size in row:
                tokens = self.span.shard.tokens[start : start + size + 1]
                inputs[line, at : at + size] = tokens[:size]
                n_targets = size - next(closing)
                labels[line, at : at + n_targets] = tokens[1 : 1 + n_targets]
                at += size
        return inputs, labels

    def document_ids(self, indices: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, "B T"]:
        """Numbers the documents within each row, in its inputs; -1 is filler."""
        ids = np.full((len(indices), self.seq_len), -1, dtype=np.int64)
        for line, index in enumerate(indices.tolist()):
            sizes = [size for _, size in self._pieces(index)]
            ids[line, : sum(sizes)] = np.repeat(np.arange(len(sizes)), sizes)
        return ids

    def document_of(self, index: int) -> int:
        """Gives the number of the document that row `index` starts in."""
        start, _ = next(self._pieces(index))
        return self.span.shard.document_of(start)

    def _pieces(self, index: int) -> Iterator[tuple[int, int]]:
        """Gives the first token and the size of each piece of a row; none for a negative index."""
        if index < 0:
            return
        first = int(self._packed.ends[index - 1]) if index else 0
        for piece in range(first, int(self._packed.ends[index])):
            yield int(self._packed.starts[piece]), int(self._packed.sizes[piece])

    def _end_documents(self, tokens: Sequence[int]) -> list[bool]:
        """Whether each token is the last of its document, or of the stretch."""
        starts = np.array(tokens, dtype=np.int64)
        found = starts + 1 == self.span.stop
        found[self.span.shard.all_document_ends(starts, starts + 1)[0]] = True
        answers: list[bool] = found.tolist()
        return answers
