"""Verdicts of rules that compare a number with a limit."""

from __future__ import annotations

from roots.errors import ConfigError
from roots.records import Drop


def above(reason: str, found: float, limit: float) -> Drop:
    """Drops because `found` is above `limit`."""
    return Drop(reason, f"{found:,.4g} > {limit:,.4g}")


def below(reason: str, found: float, limit: float) -> Drop:
    """Drops because `found` is below `limit`."""
    return Drop(reason, f"{found:,.4g} < {limit:,.4g}")


def check_limits(**limits: float) -> None:
    """Refuses limits below zero, which would mean nothing.

    Raises:
        ConfigError: One is.
    """
    for name, limit in limits.items():
        if limit < 0:
            raise ConfigError(
                f"{name}={limit} is below 0. To switch a rule off, set a minimum to 0, and a"
                " maximum to what nothing exceeds: 1.0 for a fraction."
            )
