"""Rows that begin short and double: how long those of a step are stays a function of its number."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from operator import floordiv
from typing import NamedTuple

from roots.errors import ConfigError


class Stretch(NamedTuple):
    """Steps whose rows have one length.

    Args:
        length: Tokens of a row.
        first: The first step.
        stop: One past the last.
    """

    length: int
    first: int
    stop: int


class Lengthening:
    """Lets rows double from the first length to the full one, each length for as many steps.

    The rows of a step are those that it would have anyway, each cut into equal ones. So a step has
    the same tokens at every length, in the same order, and each its target: a shorter row only
    sees less of what is around it.

    Args:
        first: Tokens of the first rows.
        full: Tokens of a row in the end; `first`, doubled a whole number of times.
        steps: Optimizer steps before rows have that.
        length_of: Gives the tokens of a row that a full one is cut into so many of; `full / cuts`
            unless something is added to each.

    Raises:
        ConfigError: Doubling `first` misses `full`, or a length would be for less than a step.

    Source:
        Li et al., arXiv:2108.06084 (which drops what is behind the cut), and the staged training
        of Press et al., arXiv:2012.15832 (which keeps it, as here).
    """

    def __init__(
        self,
        *,
        first: int,
        full: int,
        steps: int,
        length_of: Callable[[int, int], int] = floordiv,
    ) -> None:
        halves = _halves(full)
        if first not in halves:
            raise ConfigError(
                f"first_seq_len={first:,} does not become seq_len={full:,} by doublings."
                f" Set {_cure(first, full, halves)}."
            )
        doublings = halves.index(first)
        if steps < doublings:
            raise ConfigError(
                f"lengthening_steps={steps:,} is less than the {doublings:,} doublings from"
                f" {first:,} to {full:,} tokens. Set data.lengthening_steps to {doublings:,} or"
                " more, or data.first_seq_len higher."
            )
        self.full = full
        self.steps = steps
        self._cuts = [full // half for half in halves[doublings::-1]]
        self.lengths = [length_of(full, cuts) for cuts in self._cuts]
        self._begins = [-(-n * steps // max(doublings, 1)) for n in range(doublings + 1)]

    def length(self, step: int) -> int:
        """Counts the tokens of a row of a step."""
        return self.lengths[self._nth(step)]

    def cuts(self, step: int) -> int:
        """Counts the rows that each one of a step is cut into."""
        return self._cuts[self._nth(step)]

    def cuts_into(self, length: int) -> int:
        """Counts the rows of one of the lengths that a full one is cut into."""
        return self._cuts[self.lengths.index(length)]

    def stretches(self, first: int, stop: int) -> Iterator[Stretch]:
        """Parts the steps from `first` to before `stop` by the length of their rows."""
        ends = [*self._begins[1:], max(stop, self._begins[-1])]
        for length, begin, end in zip(self.lengths, self._begins, ends, strict=True):
            if max(begin, first) < min(end, stop):
                yield Stretch(length, max(begin, first), min(end, stop))

    def in_words(self, total_steps: int) -> str:
        """Says how long rows are, in a run of so many steps."""
        *before, last = self.stretches(0, total_steps)
        parts = [f"{each.length:,} tokens until step {each.stop:,}" for each in before]
        words = ", ".join([*parts, f"{'then ' if before else ''}{last.length:,}"])
        if last.length == self.full:
            return words
        return f"{words}; the run ends before they have seq_len={self.full:,}"

    def _nth(self, step: int) -> int:
        return bisect_right(self._begins, step) - 1


def lengthening(
    first: int, full: int, steps: int, *, length_of: Callable[[int, int], int] = floordiv
) -> Lengthening | None:
    """Makes the lengthening that settings ask for; None where they ask for none.

    Raises:
        ConfigError: Only one of them is set, or they cannot work.
    """
    if bool(first) != bool(steps):
        raise ConfigError(
            f"first_seq_len={first:,} and lengthening_steps={steps:,} go together: from how many"
            " tokens a row grows, and over how many steps. Set both, or none."
        )
    if not steps:
        return None
    return Lengthening(first=first, full=full, steps=steps, length_of=length_of)


def _halves(full: int) -> list[int]:
    """Lists a length and what is left by halving it, down to two tokens."""
    lengths = [full]
    while lengths[-1] % 2 == 0 and lengths[-1] > 2:
        lengths.append(lengths[-1] // 2)
    return lengths


def _cure(first: int, full: int, halves: list[int]) -> str:
    doublings = max(round(math.log2(full / first)), 1)
    other = f"data.seq_len to {first * 2**doublings:,}"
    if first < 2 or len(halves) > 1:
        nearest = min(halves[1:] or halves, key=lambda half: abs(math.log(half / first)))
        near = f"data.first_seq_len to {nearest:,}"
        return near if first < 2 else f"{near}, or {other}"
    return other
