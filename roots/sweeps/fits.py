"""The fits that a trial is the mean of: with each seed, on each fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roots.errors import ConfigError


@dataclass(frozen=True)
class Fit:
    """One of the fits of a trial.

    Args:
        key: Names it among them, in what the study keeps.
        ending: What the name of its run ends with.
        settings: What it is given beside the trial's values.
    """

    key: str
    ending: str
    settings: Mapping[str, int]


def fits_of(seeds: Sequence[int], folds: int) -> tuple[Fit, ...]:
    """Lists the fits of a trial, in their order.

    Args:
        seeds: The seeds; without them the run file's own is used.
        folds: The folds of a cross-validation; 0 makes none.
    """
    return tuple(
        _fit(seed, fold, folds)
        for seed in (seeds or (None,))
        for fold in (range(1, folds + 1) if folds else (None,))
    )


def _fit(seed: int | None, fold: int | None, folds: int) -> Fit:
    key, ending, settings = [], "", {}
    if seed is not None or fold is None:
        key.append(str(seed))
    if seed is not None:
        ending, settings["seed"] = f"-seed-{seed}", seed
    if fold is not None:
        key.append(f"fold {fold}")
        ending = f"{ending}-fold-{fold}"
        settings |= {"data.fold": fold, "data.folds": folds}
    return Fit(" ".join(key), ending, settings)


def in_words(seeds: Sequence[int], folds: int) -> str:
    """Words how many fits a trial has and in what they differ: `3 seeds`."""
    parts = [f"{len(seeds)} seeds"] if len(seeds) > 1 else []
    return " x ".join([*parts, f"{folds} folds"] if folds else parts)


def read_seeds(given: Any) -> tuple[int, ...]:
    """Reads `seeds` of a sweep file.

    Raises:
        ConfigError: They are no seeds.
    """
    seeds = list(given) if isinstance(given, (list, tuple)) else [given]
    if any(isinstance(seed, bool) or not isinstance(seed, int) or seed < 0 for seed in seeds):
        raise ConfigError(f"seeds={given!r}: make it a list of whole numbers, such as [1, 2, 3].")
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds={given!r} has a seed twice. Leave one out.")
    return tuple(seeds)
