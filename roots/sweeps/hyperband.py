"""Which trials are not worth going on with: W&B's Hyperband rule, as a function of curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roots.errors import ConfigError, nearest

KEYS = ("type", "min_iter", "max_iter", "s", "eta", "strict")
MOST_ETA, MOST_LOOKS, MOST_VALUES = 10**6, 50, 10**9
"""More than any sweep needs; the powers of them are still numbers."""


@dataclass(frozen=True)
class Hyperband:
    """Stops a trial that is not among the best 1/eta at the last band that it has passed.

    A band is a number of reported values of the metric, counted from 1, not of steps. Not `strict`,
    the best value that the trial has had so far is compared; `strict`, the one at the band.

    Args:
        bands: Where trials are looked at, ascending.
        eta: The share that goes on is one in `eta`.
        strict: Compare the value at the band itself.

    Source:
        Li et al., arXiv:1603.06560, section 3, without waiting for a band to fill, as W&B does it.
    """

    bands: tuple[int, ...]
    eta: float = 3.0
    strict: bool = False

    def stops(self, curve: Sequence[float], everyone: Sequence[Sequence[float]]) -> bool:
        """Tells whether a trial should end.

        Args:
            curve: The trial's values so far as costs (`Metric.cost`), the smaller the better.
            everyone: The values of all trials, this one's among them.
        """
        passed = [band for band in self.bands if band <= len(curve)]
        if not passed:
            return False
        band = passed[-1]
        there = sorted(other[band - 1] for other in everyone if len(other) >= band)
        threshold = there[int(len(there) / self.eta)]
        return (curve[band - 1] if self.strict else min(curve)) > threshold


def read_hyperband(spec: Any) -> Hyperband:
    """Reads `early_terminate`.

    Raises:
        ConfigError: It is no Hyperband, or its bands cannot be made.
    """
    if not isinstance(spec, Mapping) or spec.get("type") != "hyperband":
        kind = spec.get("type") if isinstance(spec, Mapping) else spec
        raise ConfigError(f"early_terminate.type={kind!r} is not known. Set it to hyperband.")
    for key in spec:
        if key not in KEYS:
            raise ConfigError(
                f"There is no early_terminate.{key}{nearest(str(key), KEYS)}. Its keys are"
                f" {', '.join(KEYS)}."
            )
    eta = spec.get("eta", 3)
    if not isinstance(eta, (int, float)) or not 1 < eta <= MOST_ETA:
        raise ConfigError(
            f"early_terminate.eta={eta!r}: of so many trials one goes on. Set it to a number above"
            f" 1 and to at most {MOST_ETA:,}."
        )
    if ("min_iter" in spec) == ("max_iter" in spec):
        raise ConfigError(
            "early_terminate needs one of min_iter (the first value that is looked at) and max_iter"
            " (the values of a whole trial, with s: how many looks). Set one, and not the other."
        )
    if "min_iter" in spec and "s" in spec:
        raise ConfigError(
            f"early_terminate.s={spec['s']!r} counts the looks before max_iter, and min_iter has"
            " looks to the end. Leave s out, or set max_iter instead of min_iter."
        )
    strict = spec.get("strict", False)
    if not isinstance(strict, bool):
        raise ConfigError(f"early_terminate.strict={strict!r}: set it to true or false.")
    bands = _upwards(spec, eta) if "min_iter" in spec else _downwards(spec, eta)
    return Hyperband(bands, float(eta), strict)


def _upwards(spec: Mapping[str, Any], eta: float) -> tuple[int, ...]:
    first = _count(spec, "min_iter")
    return tuple(dict.fromkeys(int(first * eta**power) for power in range(32)))


def _downwards(spec: Mapping[str, Any], eta: float) -> tuple[int, ...]:
    last, looks = _count(spec, "max_iter"), _count(spec, "s", MOST_LOOKS)
    bands = sorted({int(last / eta**power) for power in range(1, looks + 1)} - {0})
    if not bands:
        raise ConfigError(
            f"early_terminate: max_iter={last} divided by eta={eta:g} is below 1, so that there is"
            " nothing to look at. Set a larger max_iter or a smaller eta."
        )
    return tuple(bands)


def _count(spec: Mapping[str, Any], key: str, most: int = MOST_VALUES) -> int:
    value = spec.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ConfigError(
            f"early_terminate.{key}={value!r}: set it to a whole number from 1 to {most:,}."
        )
    return value
