"""A unigram model fitted to counted words: which pieces, and how probable each is.

The trainer of the `tokenizers` library adds up its numbers in an order that changes from process
to process and with the number of cores, so that the same text gives other files: this one does not.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from roots.corpus.lattices import Floats, Lattices
from roots.corpus.unigram_seeds import frequent_parts

SEEDS_PER_PIECE = 16
"""Pieces to begin with, for each that is to stay."""
SHRINKS_TO = 0.75
ROUNDS = 2
LEAST_COUNT = 0.5
DECIMALS = 9
_BYTES = 256


def fit_unigram(
    words: Mapping[str, int], *, n_pieces: int, min_frequency: int
) -> list[tuple[bytes, float]]:
    """Chooses pieces and their probabilities, so that the words are likely.

    Begins with many pieces, and takes turns: the probabilities are fitted, then the pieces without
    which the likelihood would fall least are taken out. The 256 bytes always stay.

    Args:
        words: How often each stands in the text; the order counts for nothing.
        n_pieces: How many pieces to give at most, 256 or more.
        min_frequency: How often a piece must stand in the text.

    Returns:
        Pieces with the logarithms of their probabilities, the most probable first.

    Source:
        Kudo, arXiv:1804.10959, section 3.2. As in SentencePiece, probabilities are those of a
        Dirichlet prior that likes few pieces (digamma). Unlike there, the loss of a piece is what
        its expected uses cost when its best other cut takes its place, and the other probabilities
        stay.
    """
    words = dict(sorted(words.items()))
    raw, counts = [word.encode() for word in words], np.array(list(words.values()), np.float64)
    seeds = frequent_parts(words, min_frequency, SEEDS_PER_PIECE * n_pieces)
    pieces = [*(bytes([byte]) for byte in range(_BYTES)), *seeds]
    lattices = Lattices(raw, pieces)
    others = Lattices(pieces[_BYTES:], pieces, whole=False) if seeds else None
    alive = np.ones(len(pieces), bool)
    stand = np.array([*_byte_counts(raw, counts), *seeds.values()])
    scores = np.log(stand / stand.sum())
    for size in _sizes(len(pieces), n_pieces):
        scores, expected = _fitted(lattices, scores, counts, alive)
        if others is None:
            break
        alive &= _worth(others, scores, expected, alive, size)
        lattices.keep(alive)
        others.keep(alive)
    scores, _ = _fitted(lattices, scores, counts, alive)
    rounded = np.round(scores, DECIMALS)
    left = sorted(np.flatnonzero(alive).tolist(), key=lambda i: (-rounded[i], pieces[i]))
    return [(pieces[i], float(rounded[i])) for i in left]


def _byte_counts(words: list[bytes], counts: Floats) -> Floats:
    flat = np.frombuffer(b"".join(words), np.uint8)
    weights = np.repeat(counts, [len(word) for word in words])
    return np.maximum(np.bincount(flat, weights, minlength=_BYTES), LEAST_COUNT)


def _sizes(n_seeds: int, n_pieces: int) -> list[int]:
    """Lists how many pieces are left after each turn: at least one turn, the last to `n_pieces`."""
    sizes = []
    while (n_seeds := int(n_seeds * SHRINKS_TO)) > n_pieces:
        sizes.append(n_seeds)
    return [*sizes, n_pieces]


def _fitted(
    lattices: Lattices, scores: Floats, counts: Floats, alive: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Takes some steps of expectation and maximisation.

    Returns:
        The scores, -inf for pieces that are gone, and the uses of which they were made.
    """
    from scipy.special import digamma  # a tenth of a second, which `--help` need not take

    for _ in range(ROUNDS):
        expected = lattices.expected(scores, counts)
        floored = np.where(alive, np.maximum(expected, LEAST_COUNT), 0.0)
        scores = np.full(len(scores), -np.inf)
        scores[alive] = digamma(floored[alive]) - digamma(floored.sum())
    return scores, expected


def _worth(
    others: Lattices,
    scores: Floats,
    used: Floats,
    alive: npt.NDArray[np.bool_],
    size: int,
) -> npt.NDArray[np.bool_]:
    """Tells which pieces stay: the bytes, and those whose loss would be greatest."""
    losses = np.full(len(scores), np.inf)
    losses[_BYTES:] = -np.inf
    left = np.flatnonzero(alive[_BYTES:])
    gain = scores[_BYTES:][left] - others.best(scores)[left]
    losses[_BYTES + left] = used[_BYTES + left] * gain
    losses = losses.astype(np.float32)  # equal but for rounding is equal: the first one stays
    kept = np.argsort(-losses, kind="stable")[:size]
    worth = np.zeros(len(scores), bool)
    worth[kept[losses[kept] > 0]] = True
    return worth
