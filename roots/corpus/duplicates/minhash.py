"""A set as a short signature, and which sets share a band of it.

Two signatures agree in a place with probability J, the Jaccard similarity of their sets (Broder,
SEQUENCES 1997). The K places are cut into bands of r rows; two documents are candidates when they
agree in all rows of at least one of b bands, which happens with probability 1 - (1 - J^r)^b
(Leskovec, Rajaraman & Ullman, Mining of Massive Datasets, ch. 3.4). With the 20 bands of 7 rows
that threshold 0.8 and recall 0.99 give:

    J             0.3    0.4    0.5    0.6    0.7    0.75   0.8    0.85   0.9    1
    probability   0.004  0.032  0.145  0.433  0.821  0.943  0.991  1.000  1.000  1

Shape letters:
    S distinct shingles    K places of a signature, b · r
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from roots.corpus.duplicates.shingles import Hashes, n_grams, spread
from roots.errors import ConfigError

MAX_PLACES = 1024  # a signature of a short text costs time by its square


@dataclass(frozen=True, slots=True)
class Banding:
    """How a signature is cut.

    Args:
        bands: Number of bands, b.
        rows: Places in a band, r.
    """

    bands: int
    rows: int

    @classmethod
    def reaching(cls, *, threshold: float, recall: float, bands: int) -> Banding:
        """Takes as many rows as leave pairs at the threshold a chance of `recall`.

        More rows make fewer candidates of unlike pairs. A signature has at most `MAX_PLACES`.

        Args:
            threshold: Jaccard similarity, 0 to 1.
            recall: The least probability that a pair at the threshold becomes a candidate.
            bands: Number of bands.

        Raises:
            ConfigError: Even one row does not reach `recall`.
        """
        rows = 0
        most = MAX_PLACES // bands
        while rows < most and cls(bands, rows + 1).probability(threshold) >= recall:
            rows += 1
        if rows == 0:
            reached = cls(bands, 1).probability(threshold)
            raise ConfigError(
                f"With {bands} bands, a pair of Jaccard similarity threshold={threshold} is found"
                f" with a probability of at most {reached:.4f}, less than recall={recall}."
                " Set bands higher or recall lower."
            )
        return cls(bands, rows)

    def probability(self, similarity: float) -> float:
        """Tells how likely two sets of this Jaccard similarity share a band."""
        return 1.0 - (1.0 - similarity**self.rows) ** self.bands


class MinHash:
    """Signatures by one permutation: a set is hashed once, however many places there are.

    The range of the hashes is cut into K bins, and the signature holds the least hash of each. An
    empty bin borrows from the first bin that is not empty, in a random order of its own, which is
    the same for all sets; so two signatures still agree with probability J in every place, also for
    sets of fewer than K members.

    Against K separate permutations this takes O(S + K) instead of O(S · K), and no universal hash
    family, whose arithmetic modulo 2^61 - 1 does not fit 64 bits.

    Args:
        places: Length of a signature, K.
        seed: Another seed lets empty bins borrow otherwise.

    Source:
        Li, Owen & Zhang, NIPS 2012 (one permutation); Shrivastava, ICML 2017 (borrowing, there
        with random probes; ours are random orders, which always end).
    """

    def __init__(self, *, places: int, seed: int = 0) -> None:
        self.places = places
        edges = [-(-(i << 64) // places) for i in range(places)]
        self._edges = np.array(edges, np.uint64)
        numbers = spread(np.arange(places * places, dtype=np.uint64), seed + 1)
        self._ranks = (numbers >> np.uint64(32)).astype(np.uint32).reshape(places, places)

    def signature(self, members: Hashes) -> Hashes:
        """Makes the signature of a set: [K].

        Args:
            members: Evenly spread hashes, sorted, distinct, [S], not empty.
        """
        starts = np.searchsorted(members, self._edges)
        is_filled = starts < np.append(starts[1:], len(members))
        values = members[np.minimum(starts, len(members) - 1)]
        empty, filled = np.flatnonzero(~is_filled), np.flatnonzero(is_filled)
        if len(empty):
            first = self._ranks[empty[:, None], filled].argmin(axis=1)  # of [empty, filled]
            values[empty] = values[filled[first]]
        return values


@lru_cache(maxsize=4)
def minhash(places: int, seed: int) -> MinHash:
    """Makes a `MinHash` once in a process."""
    return MinHash(places=places, seed=seed)


def band_keys(signatures: NDArray[np.uint64], banding: Banding) -> NDArray[np.uint64]:
    """Hashes each band of signatures [documents, K] to a key: [documents, bands]."""
    cut = signatures.reshape(-1, banding.bands, banding.rows)
    keys: Hashes = n_grams(cut.transpose(2, 0, 1), banding.rows)[0]
    return keys
