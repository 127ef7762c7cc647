"""Which corpus each place of an endless stream is drawn from: exact shares, found without state.

Nothing is drawn by chance. The stream is cut into blocks; how many places of the first k blocks a
corpus has is its share of them, rounded: cumulative shares are rounded, so that the corpora's
numbers always add up, and none is ever off by one place. Within a block its places are spread
evenly. So place n is found from n alone, by whole-number arithmetic that is exact at any n.

Shape letters: K corpora, B places of a block, S places that are asked for.
"""

from __future__ import annotations

import bisect
import sys
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

FOREVER = 2**62
"""More places than any run has."""
_LEAST = sys.float_info.min
"""What a weight above 0 stays above, so that nobody takes it for none."""


class Found(NamedTuple):
    """Where places of the stream are drawn from.

    Args:
        corpora: The corpus of each place, by its number, (S,).
        nth: How many places before it had the same corpus, (S,).
    """

    corpora: Int64[np.ndarray, " S"]
    nth: Int64[np.ndarray, " S"]


class Quotas:
    """Shares a stream between corpora, exactly.

    Args:
        shares: Of each corpus; they add up to 1.
        unit: A block has so many places, or the smallest multiple of it in which the rarest corpus
            has one.
    """

    def __init__(self, shares: Sequence[Fraction], *, unit: int) -> None:
        rarest = min(share for share in shares if share)
        self.shares = tuple(shares)
        self.block = -(-rarest.denominator // (rarest.numerator * unit)) * unit
        self._until = [Fraction(0), *accumulate(shares)]  # K + 1
        self._spread = lru_cache(maxsize=8)(self._spread_of)

    def counts(self, n: int) -> list[int]:
        """Counts the places of each corpus among the first `n`."""
        block, rest = divmod(n, self.block)
        counts = self._before(block)
        if rest:
            here = np.bincount(self._spread(block).corpora[:rest], minlength=len(counts))
            counts = [a + b for a, b in zip(counts, here.tolist(), strict=True)]
        return counts

    def find(self, places: Int64[np.ndarray, " S"]) -> Found:
        """Finds the corpus of each place, and how many places before it had the same."""
        corpora, nth = np.empty_like(places), np.empty_like(places)
        blocks, rests = np.divmod(places, self.block)
        for block in np.unique(blocks).tolist():
            here = blocks == block
            spread = self._spread(block)
            corpora[here] = spread.corpora[rests[here]]
            nth[here] = spread.nth[rests[here]]
        return Found(corpora, nth)

    def _before(self, block: int) -> list[int]:
        """Counts the places of each corpus before a block: rounded cumulative shares' steps."""
        n = 2 * block * self.block
        ends = [(n * s.numerator + s.denominator) // (2 * s.denominator) for s in self._until]
        return [high - low for low, high in pairwise(ends)]

    def _spread_of(self, block: int) -> Found:
        """Spreads the places of a block: the j-th of q has its middle at (j + 1/2) / q of it."""
        before = self._before(block)
        quotas = [b - a for a, b in zip(before, self._before(block + 1), strict=True)]
        corpora = np.repeat(np.arange(len(quotas)), quotas)
        nth = np.concatenate([np.arange(quota) for quota in quotas])
        order = np.argsort((nth + 0.5) / np.asarray(quotas)[corpora], kind="stable")
        return Found(corpora[order], (nth + np.asarray(before)[corpora])[order])


class Stretch(NamedTuple):
    """A part of the stream with the same shares.

    Args:
        first: The place that it begins with.
        quotas: Shares it.
        before: How many places each corpus had before it.
    """

    first: int
    quotas: Quotas
    before: list[int]


class Blend:
    """Puts stretches of different shares behind each other; a corpus that is used up drops out.

    Args:
        weights: Where each change of weights comes, rising from 0, and the weights from there on,
            one per corpus; they need not add up to 1, and 0 leaves a corpus out.
        limits: How many places a corpus may have in all, or `FOREVER`. Behind them its share goes
            to the others, in proportion to their weights.
        unit: See `Quotas`.
    """

    def __init__(
        self,
        weights: Sequence[tuple[int, Sequence[Fraction]]],
        *,
        limits: Sequence[int],
        unit: int,
    ) -> None:
        self.limits = limits
        self.unit = unit
        self.end = FOREVER
        """The first place for which no corpus is left."""
        self.used_up: dict[int, int] = {}
        """The place from which on a corpus has no more, by its number."""
        self.stretches: list[Stretch] = []
        stops = [first for first, _ in weights[1:]] + [FOREVER]
        before = [0] * len(limits)
        for (first, each), stop in zip(weights, stops, strict=True):
            before = self._lay(first, stop, each, before)
        self._firsts = [stretch.first for stretch in self.stretches]

    def counts(self, n: int) -> list[int]:
        """Counts the places of each corpus among the first `n`."""
        stretch = self.stretches[bisect.bisect_right(self._firsts, n) - 1]
        here = stretch.quotas.counts(n - stretch.first)
        return [a + b for a, b in zip(stretch.before, here, strict=True)]

    def find(self, places: Int64[np.ndarray, " S"]) -> Found:
        """Finds the corpus of each place, and how many places before it had the same."""
        corpora, nth = np.empty_like(places), np.empty_like(places)
        numbers = np.searchsorted(self._firsts, places, side="right") - 1
        for number in np.unique(numbers).tolist():
            here, stretch = numbers == number, self.stretches[number]
            found = stretch.quotas.find(places[here] - stretch.first)
            corpora[here] = found.corpora
            nth[here] = found.nth + np.asarray(stretch.before, dtype=np.int64)[found.corpora]
        return Found(corpora, nth)

    def _lay(
        self, first: int, stop: int, weights: Sequence[Fraction], before: list[int]
    ) -> list[int]:
        """Lays the stretches from `first` to before `stop`; gives the counts behind them."""
        left = [limit - n for limit, n in zip(self.limits, before, strict=True)]
        open_ = [w if room else Fraction(0) for w, room in zip(weights, left, strict=True)]
        while first < stop and self.end == FOREVER:
            if not any(open_):
                self.end = first
                break
            quotas = Quotas(_normal(open_), unit=self.unit)
            n, full = _until_full(quotas, left, stop - first)
            if n:
                self.stretches.append(Stretch(first, quotas, before))
            taken = quotas.counts(n)
            before = [a + b for a, b in zip(before, taken, strict=True)]
            left = [a - b for a, b in zip(left, taken, strict=True)]
            open_ = [Fraction(0) if k in full else weight for k, weight in enumerate(open_)]
            first += n
            self.used_up.update(dict.fromkeys(full, first))
        return before


def _normal(weights: Sequence[Fraction]) -> list[Fraction]:
    total = sum(weights)
    return [weight / total for weight in weights]


def _until_full(quotas: Quotas, left: Sequence[int], length: int) -> tuple[int, set[int]]:
    """Gives the most places that leave every corpus within its limit, and who is full then."""

    def over(n: int) -> set[int]:
        counted = zip(quotas.counts(n), left, strict=True)
        return {k for k, (count, room) in enumerate(counted) if count > room}

    if not over(length):
        return length, set()
    n = bisect.bisect_left(range(length), True, key=lambda places: bool(over(places + 1)))
    return n, over(n + 1)


def exact(weights: Iterable[float], temperature: float = 1.0) -> list[Fraction]:
    """Makes weights exact: as they are written, or with a temperature to twelve digits.

    Args:
        weights: Not negative.
        temperature: Each weight is taken to the power 1 / temperature: 1 leaves them, more makes
            them more alike, infinity equal; 0 stays 0.

    Source:
        Raffel et al., arXiv:1910.10683, section 3.5.2 (temperature-scaled mixing).
    """
    if temperature == 1:
        return [Fraction(str(weight)) for weight in weights]
    largest = max(weights := list(weights))
    scaled = [max((w / largest) ** (1 / temperature), _LEAST) if w else 0.0 for w in weights]
    return [Fraction(w).limit_denominator(10**12) or Fraction(w) for w in scaled]
