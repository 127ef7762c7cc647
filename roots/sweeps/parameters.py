"""One parameter of a sweep: the values it may have, and how a search moves among them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from roots.errors import ConfigError

TAIL = 1e-6
"""What is left out at either end where a value is drawn by its quantile: 4.75 sigma of a normal."""


@dataclass(frozen=True)
class Parameter:
    """A setting, and the values that a sweep gives it.

    A search moves a number between `low` and `high`, and `value` makes of it what the run is given.

    Args:
        name: The flag of `roots fit`, without its hyphens.
        distribution: One of W&B's, without `q_`.
        low: Smallest number that is searched.
        high: Largest number that is searched.
        scale: How it is searched: `linear`, `log`, `whole` numbers, by `quantile`, or `choice`.
        choices: The values of a categorical parameter, or the one of a constant.
        probabilities: That of each choice; empty where all are alike.
        q: Values are rounded to multiples of it; 0 rounds nothing.
        shape: The two parameters of a bell: mu and sigma, or a and b.
    """

    name: str
    distribution: str
    low: float = 0.0
    high: float = 1.0
    scale: str = "linear"
    choices: tuple[Any, ...] = ()
    probabilities: tuple[float, ...] = ()
    q: float = 0.0
    shape: tuple[float, float] = (0.0, 1.0)

    @property
    def is_constant(self) -> bool:
        """Tells whether there is nothing to search."""
        return self.distribution == "constant"

    @property
    def labels(self) -> list[str]:
        """The choices as texts that differ: `1`, `1.0`, `true` and `"1"` are four."""
        return [label(choice) for choice in self.choices]

    def value(self, found: Any) -> Any:
        """Gives the value for the number, or for the label, that a search has found."""
        if self.scale == "choice":
            return self.choices[self.labels.index(found)]
        if self.distribution == "categorical":
            return self.choices[_index(self.probabilities, found)]
        number = self._at_quantile(found) if self.scale == "quantile" else found
        return self._rounded(number)

    @property
    def n_points(self) -> int:
        """How many values a grid has, which may be too many for a list.

        Raises:
            ConfigError: The parameter has no list of values.
        """
        first, last = self._multiples()
        return last - first + 1

    def point(self, place: int) -> Any:
        """Gives the value at a place of a grid, counted from 0."""
        number = self._multiples()[0] + place
        if self.choices:
            return self.choices[number]
        return number if self.scale == "whole" else self._rounded(number * self.q)

    def _multiples(self) -> tuple[int, int]:
        """Gives the first and the last of the whole numbers that stand for a grid's values."""
        if self.choices:
            return 0, len(self.choices) - 1
        if self.scale == "whole":
            return int(self.low), int(self.high)
        if self.q and self.scale in ("linear", "log"):
            return round(self.low / self.q), round(self.high / self.q)
        raise ConfigError(
            f"parameters.{self.name} has no list of values ({self.distribution} is continuous), and"
            " method: grid tries every value. Give it `values`, a q_… distribution, or whole"
            " numbers as min and max; or set method: random."
        )

    def extremes(self) -> list[Any]:
        """Lists the values that say whether all can work: every choice, or the two ends."""
        if self.choices:
            return list(self.choices)
        return [self.value(self.low), self.value(self.high)]

    def _at_quantile(self, share: float) -> float:
        first, second = self.shape
        if self.distribution == "normal":
            return float(stats.norm.ppf(share, loc=first, scale=second))
        if self.distribution == "log_normal":
            return float(stats.lognorm.ppf(share, s=second, scale=math.exp(first)))
        return float(stats.beta.ppf(share, first, second))

    def _rounded(self, number: float) -> float | int:
        if self.scale == "whole":
            return int(number)
        if not self.q:
            return float(number)
        multiple = round(number / self.q)
        # 3 · 0.1 is not 0.3 in binary: twelve digits are
        return multiple * int(self.q) if self._is_whole else float(f"{multiple * self.q:.12g}")

    @property
    def _is_whole(self) -> bool:
        return isinstance(self.q, int)


def label(choice: Any) -> str:
    """Gives a choice as a text; one that was kept as JSON, with texts for keys, has the same."""
    return json.dumps(choice, sort_keys=True)


def _index(probabilities: Sequence[float], share: float) -> int:
    """Finds the choice at a quantile; one of probability 0 never is."""
    reached = 0.0
    likely = [(n, p) for n, p in enumerate(probabilities) if p > 0]
    for number, probability in likely:
        reached += probability
        if share < reached:
            return number
    return likely[-1][0]
