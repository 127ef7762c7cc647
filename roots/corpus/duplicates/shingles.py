"""The set of hashed word n-grams of a text, as a sorted array; exact Jaccard between two of them.

A word is hashed once (BLAKE2b, 64 bits) and remembered. The n words of a shingle are combined by a
polynomial in those hashes modulo 2^64, and mixed by a bijection that spreads it evenly. The chance
that any two of the N shingles of two texts fall together is below N² / 2^61: 10^-12 for N = 10^3.

Shape letters:
    N words    S distinct shingles
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from roots.corpus.duplicates.normal_form import digest

Hashes = NDArray[np.uint64]

_FACTOR = np.uint64(0x9E3779B97F4A7C13)  # 3 modulo 4, so that swapped words lose one bit at most
_MAX_REMEMBERED = 2**19  # about 80 MB


class _WordHashes(dict[str, int]):
    """Hashes of words, remembered until there are too many of them."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _MAX_REMEMBERED:
            self.clear()
        value = self[word] = int.from_bytes(digest(word, 8), "little")
        return value


_hash_of = _WordHashes()


def hashes_of(words: Sequence[str]) -> Hashes:
    """Hashes words one by one: [N]."""
    return np.fromiter(map(_hash_of.__getitem__, words), np.uint64, len(words))


def n_grams(words: Hashes, n: int, seed: int = 0) -> Hashes:
    """Hashes each run of `n` words: [max(N - n + 1, 0)], in order.

    Args:
        words: Hashes of the words.
        n: Words in a run, 1 or more.
        seed: Another seed gives unrelated hashes.
    """
    count = max(len(words) - n + 1, 0)
    total = words[:count].copy()
    for k in range(1, n):
        total *= _FACTOR
        total += words[k : k + count]
    return spread(total, seed)


def shingles(words: Sequence[str], n: int, seed: int = 0) -> Hashes:
    """Makes the set of shingles of a text: sorted, distinct, [S].

    A text of fewer than `n` words has one shingle, all its words; one without words has none.

    Args:
        words: The words of the text.
        n: Words in a shingle.
        seed: Another seed gives unrelated hashes.
    """
    return distinct(n_grams(hashes_of(words), max(min(n, len(words)), 1), seed))


def spread(values: Hashes, seed: int) -> Hashes:
    """Maps 64-bit values to 64-bit values, one to one, so that near ones fall far apart.

    Source:
        Steele, Lea & Flood, OOPSLA 2014, the finalizer of SplitMix64.
    """
    mixed = values ^ np.uint64((seed * 0x9E3779B97F4A7C15) % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def distinct(values: Hashes) -> Hashes:
    """Sorts, and leaves out what is there twice."""
    values = np.sort(values)
    if len(values) < 2:
        return values
    return values[np.concatenate(([True], values[1:] != values[:-1]))]


def n_common(a: Hashes, b: Hashes) -> int:
    """Counts what two sorted arrays of distinct values share."""
    both = np.concatenate((a, b))
    both.sort()
    return int(np.count_nonzero(both[1:] == both[:-1]))


def jaccard(a: Hashes, b: Hashes) -> float:
    """Divides what two sets share by what they hold together; 0 when both are empty."""
    common = n_common(a, b)
    return common / max(len(a) + len(b) - common, 1)
