"""Whether the means of two groups of runs differ by more than their seeds do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """What two groups of runs say of the difference between their means, and how sure they are.

    Args:
        mean: Mean of the second group less that of the first.
        n: Runs of the first and of the second group.
        low: Lower end of the interval that holds the true difference with CONFIDENCE; None where
            the runs cannot say.
        high: Its upper end.
        p: How likely a difference of this size, or a larger one, is between equal means; None where
            the runs cannot say.
        why_not: Why they cannot say.
    """

    mean: float
    n: tuple[int, int]
    low: float | None = None
    high: float | None = None
    p: float | None = None
    why_not: str = ""

    @property
    def is_significant(self) -> bool | None:
        """Whether chance is an unlikely reason, at 1 - CONFIDENCE; None where it cannot be said."""
        return None if self.p is None else self.p < 1 - CONFIDENCE

    def __str__(self) -> str:
        size = f"{self.mean:+.4g}"
        n = f"n = {self.n[0]} and {self.n[1]}"
        if self.p is None:
            return f"{size} ({n}): {self.why_not}"
        verdict = "significant" if self.is_significant else "not significant"
        between = f"{self.low:+.4g} to {self.high:+.4g}"
        return f"{size} ({CONFIDENCE:.0%}: {between}), p = {_told(self.p)}, {n}: {verdict}"


def welch(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Compares the means of two groups whose spreads may differ.

    Args:
        first: One value of each run of the first group.
        second: The same of the second.

    Source:
        Welch, The generalization of "Student's" problem when several different population variances
        are involved, Biometrika 34 (1947); the degrees of freedom are Satterthwaite's.
    """
    n = (len(first), len(second))
    mean = _mean(second) - _mean(first)
    if min(n) < 2:
        return Difference(mean, n, why_not="one run has no spread; train more seeds of each")
    if not all(map(math.isfinite, [*first, *second])):
        return Difference(mean, n, why_not="a value is not finite")
    if len({*first}) == len({*second}) == 1:
        return Difference(mean, n, why_not="all runs of a group came to the very same value")
    from scipy.stats import ttest_ind

    result = ttest_ind(second, first, equal_var=False)
    between = result.confidence_interval(CONFIDENCE)
    return Difference(mean, n, float(between.low), float(between.high), float(result.pvalue))


def _told(p: float) -> str:
    """Writes a probability in two digits, or in as many as keep it on its side of the level."""
    level = round(1 - CONFIDENCE, 9)
    texts = (f"{p:.{digits}g}" for digits in range(2, 18))
    return next((text for text in texts if (float(text) < level) == (p < level)), repr(p))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.nan
