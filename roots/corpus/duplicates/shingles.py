"""The set of hashed word n-grams of a text, as a sorted array; exact Jaccard between two of them.

A word is hashed to 64 bits, eight bytes of its UTF-8 at a time: each eight are combined with what
came before by exclusive or, and mixed by a bijection that spreads evenly; a word above 512 bytes
is hashed by BLAKE2b. The n words of a shingle are combined by a polynomial in their hashes modulo
2^64, and mixed again. The chance that any two of N shingles fall together is then below N² / 2^61:
10^-12 for N = 10^3. Collisions can be made on purpose; they only make two texts more alike.

Shape letters:
    N words    S distinct shingles
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from roots.corpus.duplicates.normal_form import digest

Hashes = NDArray[np.uint64]

_FACTOR = np.uint64(0x9E3779B97F4A7C13)  # 3 modulo 4, so that swapped words lose one bit at most
_MASKS = np.array([2 ** (8 * n) - 1 for n in range(9)], np.uint64)
_LONGEST = 512  # bytes; one by one above


def hashes_of(words: Sequence[str]) -> Hashes:
    """Hashes words, eight bytes of all of them at a time: [N]."""
    raw, starts, lengths = _bytes_of(words)
    padded = raw + bytes(8)
    eight = np.ndarray(len(raw) + 1, "<u8", padded, strides=(1,))  # the eight bytes from each on
    values = spread((eight[starts] & _MASKS[np.minimum(lengths, 8)]) ^ lengths * _FACTOR, 0)
    longer = np.flatnonzero((lengths > 8) & (lengths <= _LONGEST))
    offset = 8
    while len(longer):
        left = np.minimum(lengths[longer] - np.uint64(offset), 8)
        more = eight[starts[longer] + offset] & _MASKS[left]
        values[longer] = spread(values[longer] ^ more, 0)
        offset += 8
        longer = longer[lengths[longer] > offset]
    for place in np.flatnonzero(lengths > _LONGEST).tolist():
        values[place] = int.from_bytes(digest(words[place], 8), "little")
    return values


def _bytes_of(words: Sequence[str]) -> tuple[bytes, NDArray[np.int64], NDArray[np.uint64]]:
    """Writes words in UTF-8, one after another; where each starts, and its bytes."""
    raw = "\n".join(words).encode("utf-8", "surrogatepass")
    ends = np.append(np.flatnonzero(np.frombuffer(raw, np.uint8) == 10), len(raw))
    if len(ends) != len(words):  # a word holds a newline, or there is no word
        each = [len(word.encode("utf-8", "surrogatepass")) for word in words]
        ends = np.cumsum(np.array(each, np.int64) + 1) - 1
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))[: len(words)]
    return raw, starts, (ends - starts).astype(np.uint64)


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


def shingles(texts: Sequence[Sequence[str]], n: int, seed: int = 0) -> list[Hashes]:
    """Makes the set of shingles of each text: sorted, distinct, [S].

    A text of fewer than `n` words has one shingle, all its words; one without words has none.
    All texts are hashed in one go, because small arrays cost more than they hold.

    Args:
        texts: The words of each text.
        n: Words in a shingle.
        seed: Another seed gives unrelated hashes.
    """
    words = hashes_of(list(chain.from_iterable(texts)))
    runs = n_grams(words, n, seed)  # those across two texts are not taken below
    sets, start = [], 0
    for text in texts:
        stop = start + len(text)
        if len(text) >= n:
            sets.append(distinct(runs[start : stop - n + 1]))
        else:
            sets.append(n_grams(words[start:stop], max(len(text), 1), seed))
        start = stop
    return sets


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
