"""Runs that differ only by seed are one experiment, told by a mean and a spread."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from roots.evaluation.comparison.reading import ComparedRun

ASIDE: tuple[str, ...] = ("seed", "name", "trainer.runs_dir", "trainer.progress", "trainer.wandb")
ASIDE += (
    "trainer.wandb_checkpoints",
    "trainer.trackio",
    "trainer.tensorboard",
    "data.init_args.seed",
)
"""Settings that runs of one group may differ in: the seeds, and those that change no number."""


@dataclass(frozen=True)
class Group:
    """Runs of the same settings.

    Args:
        letter: How it is called in tables: A, B, …
        runs: They differ by their seeds at most.
    """

    letter: str
    runs: tuple[ComparedRun, ...]

    @property
    def name(self) -> str:
        """Its letter, and the names of its runs with the numbers gathered."""
        names = {run.name.rpartition("/")[0] for run in self.runs}
        inside = f"{names.pop()}" if len(names) == 1 else f"{self.runs[0].name}, …"
        only = self.runs[0].name if len(self.runs) == 1 else f"{inside} ({len(self.runs)} runs)"
        return f"{self.letter}: {only}"

    @property
    def counted(self) -> tuple[ComparedRun, ...]:
        """Those that a mean is made of: finished, and one of each seed."""
        first: dict[str, ComparedRun] = {}
        for run in self.runs:
            if run.state == "finished":
                first.setdefault(run.seed, run)
        return tuple(first.values())


@dataclass(frozen=True)
class Spread:
    """What a group came to in one number.

    Args:
        values: One of each run.
    """

    values: tuple[float, ...]

    @property
    def n(self) -> int:
        """How many runs."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Their mean."""
        return statistics.fmean(self.values) if self._are_finite else sum(self.values) / self.n

    @property
    def deviation(self) -> float | None:
        """Their standard deviation, with n - 1 in the denominator; None for one run.

        NaN where a value is not finite.
        """
        if self.n < 2:
            return None
        return statistics.stdev(self.values) if self._are_finite else math.nan

    @property
    def _are_finite(self) -> bool:
        return all(map(math.isfinite, self.values))

    def __str__(self) -> str:
        spread = self.deviation
        if not spread or not math.isfinite(spread):  # of one run there is none
            told = "" if spread is None else f" ± {spread:g}"
            return f"{self.mean:,.5g}{told} (n = {self.n})"
        digits = max(1 - math.floor(math.log10(spread)), 0)  # two of the spread's own
        return f"{self.mean:,.{digits}f} ± {spread:,.{digits}f} (n = {self.n})"


def grouped(runs: Sequence[ComparedRun]) -> list[Group]:
    """Puts the runs together that differ only by seed, in the order in which they were named.

    A run of other data is of another group, whatever its settings.
    """
    alike: dict[str, list[ComparedRun]] = {}
    for run in runs:
        alike.setdefault(_key(run), []).append(run)
    return [Group(_letter(i), tuple(members)) for i, members in enumerate(alike.values())]


def _key(run: ComparedRun) -> str:
    settings = {k: v for k, v in run.settings.items() if k not in ASIDE}
    return json.dumps([run.fingerprint, run.validated_on, settings], sort_keys=True, default=str)


def _letter(number: int) -> str:
    more, last = divmod(number, 26)
    return (_letter(more - 1) if more else "") + chr(ord("A") + last)
