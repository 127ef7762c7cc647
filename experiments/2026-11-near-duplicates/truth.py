"""All pairs of documents that are alike, exactly, by another way than either contender's.

Python's own hash of word tuples, and prefix filtering: two sets of Jaccard similarity t or more
must share one of the rarest (1 - t) of the shingles of each (Chaudhuri et al., ICDE 2006; Bayardo
et al., WWW 2007). So nothing is overlooked and no MinHash is involved.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

N = 5


def sets(texts: list[str], splitter: Callable[[str], list[str]]) -> list[np.ndarray]:
    """Makes the set of 5-word shingles of each text, as sorted hashes."""
    return [_set(splitter(text)) for text in texts]


def _set(words: list[str]) -> np.ndarray:
    n = min(N, len(words))
    runs = {hash(run) for run in zip(*(words[i:] for i in range(n)), strict=False)}
    return np.sort(np.fromiter(runs, np.int64, len(runs)))


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Divides what two sets share by what they hold together."""
    common = len(np.intersect1d(a, b, assume_unique=True))
    return common / (len(a) + len(b) - common)


def pairs(shingles: list[np.ndarray], threshold: float) -> dict[tuple[int, int], float]:
    """Finds all pairs whose similarity reaches the threshold, and tells it."""
    members, owners = _prefixes(shingles, threshold)
    order = np.lexsort((owners, members))
    members, owners = members[order], owners[order]
    edges = np.flatnonzero(np.concatenate(([True], members[1:] != members[:-1], [True])))
    sizes = np.array([len(each) for each in shingles])
    possible = {
        pair
        for start, stop in pairwise(edges)
        for i in range(start + 1, stop)
        for pair in _possible(owners[start:i], owners[i], sizes, threshold)
    }
    found = {(a, b): jaccard(shingles[a], shingles[b]) for a, b in possible}
    return {pair: found[pair] for pair in sorted(found) if found[pair] >= threshold}


def _possible(
    others: np.ndarray, owner: int, sizes: np.ndarray, threshold: float
) -> list[tuple[int, int]]:
    """Lists the pairs whose sizes allow the threshold."""
    small = np.minimum(sizes[others], sizes[owner])
    large = np.maximum(sizes[others], sizes[owner])
    return [(int(other), int(owner)) for other in others[small >= threshold * large]]


def _prefixes(shingles: list[np.ndarray], threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Takes the rarest shingles of each document, as many as an alike one cannot do without."""
    everything, counts = np.unique(np.concatenate(shingles), return_counts=True)
    members, owners = [], []
    for owner, each in enumerate(shingles):
        how_many = len(each) - int(np.ceil(threshold * len(each) - 1e-9)) + 1 if len(each) else 0
        rarity = counts[np.searchsorted(everything, each)]
        rarest = each[np.lexsort((each, rarity))[:how_many]]
        members.append(rarest)
        owners.append(np.full(len(rarest), owner))
    return np.concatenate(members), np.concatenate(owners)
