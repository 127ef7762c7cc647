"""How much of a text is repeated: lines, the most frequent n-gram, and all n-grams that come again.

The n-grams of a text are compared as numbers, a whole array at a time. Equal n-grams always have
equal numbers, so a text without equal numbers has no repeated n-gram, which is most texts. Where
numbers are equal, an upper bound comes from the places alone; only a text above the limit by that
bound is walked through string by string. The answers are those of the definition, never estimates.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt

from roots.corpus.stages.words import Words

_BASE = 0x9E3779B97F4A7C15  # odd, so that its powers mod 2^64 never vanish
_LARGEST_HASHED = 2**20
"""Characters above which n-grams are compared as strings: the arrays would not be small."""
_LARGEST_KEY = 2**62


def repeated(parts: Sequence[str]) -> tuple[int, int]:
    """Counts the parts that equal an earlier one, and their characters."""
    distinct = set(parts)
    n_repeated = len(parts) - len(distinct)
    if not n_repeated:
        return 0, 0
    return n_repeated, sum(map(len, parts)) - sum(map(len, distinct))


def top_characters(words: Words, n: int) -> int:
    """Measures the most frequent n-gram: its characters, spaces included, times its count.

    Of equally frequent ones, the first in the text counts.
    """
    keys = _keys(words.ids, n)
    ordered = np.sort(keys)
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    counts = np.diff(starts, append=len(ordered))
    most = int(counts.max())
    first = 0 if most == 1 else _first_of(keys, ordered[starts[counts == most]])
    return most * (int(words.lengths[first : first + n].sum()) + n - 1)


def _first_of(keys: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> int:
    """Finds the first place that holds one of `wanted`, which is sorted."""
    places = np.searchsorted(wanted, keys)
    return int(np.argmax(wanted[np.minimum(places, len(wanted) - 1)] == keys))


def _keys(ids: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    """Numbers the n-grams, (W - n + 1,): equal numbers for equal n-grams and for no others."""
    keys, size = ids, int(ids.max()) + 1
    n_words = size
    for shift in range(1, n):
        if size > _LARGEST_KEY // n_words:
            distinct, keys = np.unique(keys, return_inverse=True)
            size = len(distinct)
        keys = keys[:-1] * n_words + ids[shift:]
        size *= n_words
    return keys


class Repeats:
    """What the n-grams of one text cover that come again.

    The text is walked from its first word; an n-gram that was met before is counted with all its
    characters and jumped over. N-grams are equal when their words joined without a space are.

    Args:
        words: The words.
    """

    def __init__(self, words: Words) -> None:
        self.words = words

    def above(self, n: int, limit: float) -> float | None:
        """Measures what repeated n-grams cover, as a fraction of the text, if above `limit`."""
        size = len(self.words.text)
        if len(self.words) < n or self._bound(n) / size <= limit:
            return None
        found = _walked(self.words, n) / size
        return found if found > limit else None

    def _bound(self, n: int) -> int:
        """Counts the characters of all words in an n-gram whose number came before."""
        ends = self.words.ends
        if int(ends[-1]) > _LARGEST_HASHED:
            return int(ends[-1])
        shifts = _powers()[_LARGEST_HASHED - ends[:-n]]
        numbers = (self._sums[n:] - self._sums[:-n]) * shifts
        ordered = np.sort(numbers)
        if not (ordered[1:] == ordered[:-1]).any():
            return 0
        order = np.argsort(numbers, kind="stable")
        again = order[1:][numbers[order[1:]] == numbers[order[:-1]]]
        depth = np.zeros(len(self.words) + 1, np.int64)
        depth[again] += 1
        depth[again + n] -= 1
        return int(self.words.lengths[np.cumsum(depth)[:-1] > 0].sum())

    @cached_property
    def _sums(self) -> npt.NDArray[np.uint64]:
        """Sums of character times power of its place, before each word and at the end, (W + 1,)."""
        raw = "".join(self.words.words).encode("utf-32-le", "surrogatepass")
        codes = np.frombuffer(raw, np.uint32).astype(np.uint64)
        sums = np.zeros(len(codes) + 1, np.uint64)
        np.cumsum(codes * _powers()[: len(codes)], out=sums[1:])
        return sums[self.words.ends]


def _walked(words: Words, n: int) -> int:
    text, ends = "".join(words.words), words.ends.tolist()
    met: set[str] = set()
    n_characters, at, last = 0, 0, len(words) - n
    while at <= last:
        n_gram = text[ends[at] : ends[at + n]]
        if n_gram in met:
            n_characters += len(n_gram)
            at += n
        else:
            met.add(n_gram)
            at += 1
    return n_characters


@cache
def _powers() -> npt.NDArray[np.uint64]:
    """The powers of the base, mod 2^64."""
    powers = np.full(_LARGEST_HASHED + 1, _BASE, np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)
