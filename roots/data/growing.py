"""Steps that begin with few rows and grow: which rows a step has stays a function of its number."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from roots.errors import ConfigError


class Growing:
    """Lets the rows of a step grow in equal strides, each as long as the others.

    With the first size F and the full one K · F, the growing steps have F, 2F, …, (K - 1) · F rows,
    each for as many steps; those behind them have all.

    Args:
        first: Rows of the first steps, F.
        full: Rows of a step in the end; a multiple of `first`.
        steps: Optimizer steps before they have that.

    Raises:
        ConfigError: `first` does not divide `full`, or the strides would be shorter than a step.

    Source:
        Batch-size warm-up as in Brown et al., arXiv:2005.14165, appendix B (there linear in
        tokens), and Warner et al., arXiv:2412.13663, section 2.3.
    """

    def __init__(self, *, first: int, full: int, steps: int) -> None:
        if first < 1 or full % first:
            below = next((n for n in range(min(max(first, 1), full), 0, -1) if full % n == 0), 1)
            raise ConfigError(
                f"first_sequences_per_step={first:,} does not divide sequences_per_step={full:,},"
                f" which it grows to in equal strides. Set data.first_sequences_per_step to"
                f" {below:,}."
            )
        n_strides = full // first - 1
        if steps < n_strides:
            raise ConfigError(
                f"growing_steps={steps:,} is less than the {n_strides:,} strides from"
                f" {first:,} to {full:,} sequences. Set data.growing_steps to {n_strides:,} or"
                " more, or data.first_sequences_per_step higher."
            )
        self.first = first
        self.full = full
        self.steps = steps
        self._begins = np.array([-(-n * steps // n_strides) for n in range(1, n_strides + 1)])

    def size(self, step: int) -> int:
        """Counts the rows of a step."""
        return self.first * (1 + int(np.searchsorted(self._begins, step, side="right")))

    def before(self, step: int) -> int:
        """Counts the rows of all steps before `step`: each stride adds F to those behind it."""
        grown = int(np.maximum(step - self._begins, 0).sum())
        return self.first * (step + grown)

    def shared_from(self, ranks: int) -> int:
        """Gives the step from which on so many ranks, which divide `full`, divide every step."""
        begins = [0, *self._begins.tolist()]
        uneven = [n for n in range(len(begins)) if self.first * (n + 1) % ranks]
        return int(begins[uneven[-1] + 1]) if uneven else 0

    def positions(self, step: int) -> Int64[np.ndarray, " S"]:
        """Gives the places of a step."""
        first = self.before(step)
        return np.arange(first, first + self.size(step), dtype=np.int64)


def growing(first: int, full: int, steps: int) -> Growing | None:
    """Makes the growth that settings ask for; None where they ask for none.

    Raises:
        ConfigError: Only one of them is set, or they cannot work.
    """
    if bool(first) != bool(steps):
        raise ConfigError(
            f"first_sequences_per_step={first:,} and growing_steps={steps:,} go together: from how"
            " many sequences a step grows, and over how many steps. Set both, or none."
        )
    return Growing(first=first, full=full, steps=steps) if steps else None
