"""Lattices: all ways to cut words into pieces, and what they weigh, on numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class _Step(NamedTuple):
    """The edges that end behind the same number of bytes of their words.

    Args:
        edges: Which ones.
        first: Where, among them, those of a next node begin.
        sizes: How many each node has.
        nodes: Where they end.
    """

    edges: slice
    first: Ints
    sizes: Ints
    nodes: Ints


class Lattices:
    """The pieces in each word: edges between the places before, inside and after it.

    All words are worked on at once, a byte of each after another; every sum is taken in the same
    order each time, so that equal input gives equal bits.

    Args:
        words: In bytes, none empty.
        pieces: In bytes, none twice; each byte of the words is a piece.
        whole: Whether a word may be one piece.
    """

    def __init__(
        self, words: Sequence[bytes], pieces: Sequence[bytes], *, whole: bool = True
    ) -> None:
        lengths = np.array([len(word) for word in words], np.int64)
        self.n_pieces = len(pieces)
        self.n_nodes = int(lengths.sum()) + len(words)
        self.ends: Ints = np.cumsum(lengths + 1) - 1
        """The last node of each word."""
        begins = np.repeat(np.cumsum(lengths) - lengths, lengths)
        place, length, piece = _matches(words, lengths, _Trie(pieces))
        within = place - begins[place]
        word = np.repeat(np.arange(len(words)), lengths)[place]
        kept = np.ones(len(place), bool) if whole else length < lengths[word]
        start = place + word
        order = np.lexsort((start + length, within + length))
        order = order[kept[order]]
        self._start, self._end, self._piece = start[order], (start + length)[order], piece[order]
        self._until = (within + length)[order]
        self._steps = self._stepped()

    def keep(self, alive: npt.NDArray[np.bool_]) -> None:
        """Leaves out the edges of pieces that are gone."""
        kept = alive[self._piece]
        self._start, self._end = self._start[kept], self._end[kept]
        self._piece, self._until = self._piece[kept], self._until[kept]
        self._steps = self._stepped()

    def best(self, scores: Floats) -> Floats:
        """Gives the score of the best way to cut each word."""
        return self._weighed(scores, best=True)[self.ends]

    def totals(self, scores: Floats) -> Floats:
        """Gives the logarithm of the probability of each word, over all ways to cut it."""
        return self._weighed(scores, best=False)[self.ends]

    def expected(self, scores: Floats, counts: Floats) -> Floats:
        """Counts how often each piece is used, on average over all ways to cut.

        Args:
            scores: The logarithm of the probability of each piece.
            counts: How often each word stands in the text.
        """
        weights = self._weighed(scores, best=False)
        passing = np.zeros(self.n_nodes)
        passing[self.ends] = counts
        used = np.empty(len(self._piece))
        for step in reversed(self._steps):
            start, end = self._start[step.edges], self._end[step.edges]
            odds = np.exp(weights[start] + scores[self._piece[step.edges]] - weights[end])
            used[step.edges] = passing[end] * odds
            np.add.at(passing, start, used[step.edges])
        counted = np.bincount(self._piece, used, minlength=self.n_pieces)
        return np.asarray(counted, np.float64)

    def _weighed(self, scores: Floats, *, best: bool) -> Floats:
        weights = np.full(self.n_nodes, -np.inf)
        weights[np.append(0, self.ends[:-1] + 1)] = 0.0
        for step in self._steps:
            each = weights[self._start[step.edges]] + scores[self._piece[step.edges]]
            top = np.maximum.reduceat(each, step.first)
            if not best:
                share = np.exp(each - np.repeat(top, step.sizes))
                top = top + np.log(np.add.reduceat(share, step.first))
            weights[step.nodes] = top
        return weights

    def _stepped(self) -> list[_Step]:
        bounds = [*np.flatnonzero(np.diff(self._until, prepend=-1)).tolist(), len(self._until)]
        steps = []
        for i in range(len(bounds) - 1):
            edges = slice(bounds[i], bounds[i + 1])
            first = np.flatnonzero(np.diff(self._end[edges], prepend=-1))
            sizes = np.diff(np.append(first, edges.stop - edges.start))
            steps.append(_Step(edges, first, sizes, self._end[edges][first]))
        return steps


class _Trie:
    """The pieces by their bytes."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        children: dict[int, int] = {}
        numbers = [-1]
        for number, piece in enumerate(pieces):
            state = 0
            for byte in piece:
                state = children.setdefault(state << 8 | byte, len(numbers))
                if state == len(numbers):
                    numbers.append(-1)
            numbers[state] = number
        keys = np.fromiter(children.keys(), np.int64, len(children))
        order = np.argsort(keys)
        self._keys = keys[order]
        self._states = np.fromiter(children.values(), np.int64, len(children))[order]
        self.numbers = np.array(numbers, np.int64)
        """Which piece ends with a state; -1 for none."""

    def step(self, state: Ints, byte: Ints) -> Ints:
        """Goes on from a state by a byte; -1 where no piece does."""
        keys = state << 8 | byte
        found = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[found] == keys, self._states[found], -1)


def _matches(words: Sequence[bytes], lengths: Ints, trie: _Trie) -> tuple[Ints, Ints, Ints]:
    """Finds where each piece stands: the byte, the length and the number of the piece."""
    flat = np.frombuffer(b"".join(words), np.uint8).astype(np.int64)
    word_end = np.repeat(np.cumsum(lengths), lengths)
    place, state, length = np.arange(len(flat)), np.zeros(len(flat), np.int64), 0
    found: list[tuple[Ints, Ints, Ints]] = []
    while len(place):
        state = trie.step(state, flat[place + length])
        length += 1
        numbers = trie.numbers[state]
        hit = (state >= 0) & (numbers >= 0)
        found.append((place[hit], np.full(int(hit.sum()), length), numbers[hit]))
        on = (state >= 0) & (place + length < word_end[place])
        place, state = place[on], state[on]
    columns = [np.concatenate(column) for column in zip(*found, strict=True)]
    return columns[0], columns[1], columns[2]
