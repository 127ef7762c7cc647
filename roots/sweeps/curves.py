"""The learning curve of a trial: what its fits measured at a step, their mean and their range."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from roots.runs import load_metrics
from roots.sweeps.definition import Definition
from roots.sweeps.trial import Trial, run_of

TRAINING = "train/loss"
"""What every run logs on its way."""


@dataclass(frozen=True)
class Curve:
    """What the metric was during a trial.

    Args:
        steps: The optimizer steps at which every fit measured it.
        mean: The mean over the fits, at each.
        low: The smallest of them.
        high: The largest.
        n_fits: How many there are.
        name: What was measured.
    """

    steps: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    n_fits: int
    name: str = ""


def curves_of(definition: Definition, trials: Sequence[Trial], folder: Path) -> dict[int, Curve]:
    """Gives the curves of the trials by their numbers, without those that measured nothing.

    The study keeps the curve of a trial of one fit. Where there are several, it keeps one number
    for each, and their curves are read from their runs; a run that another machine has, or that
    was removed, is left out. Where no fit has measured the metric twice, there is no curve to see,
    and the training loss is taken instead.

    Args:
        definition: The sweep.
        trials: Its trials.
        folder: The sweep's directory.

    Raises:
        DataError: A metrics file is not what a run writes.
    """
    name = definition.metric.name
    if len(definition.fits) > 1:
        found = _of_runs(trials, name, folder)
    else:
        found = _not_empty({t.number: over_fits([t.curve], name) for t in trials})
    if any(len(curve.steps) > 1 for curve in found.values()):
        return found
    return _of_runs(trials, TRAINING, folder) or found


def _of_runs(trials: Sequence[Trial], name: str, folder: Path) -> dict[int, Curve]:
    return _not_empty({t.number: over_fits(_measured(t, name, folder), name) for t in trials})


def _not_empty(curves: Mapping[int, Curve]) -> dict[int, Curve]:
    return {number: curve for number, curve in curves.items() if curve.steps}


def over_fits(fits: Sequence[Mapping[int, float]], name: str = "") -> Curve:
    """Takes the curves of several fits together, as far as each of them came.

    A fit that ended earlier ends the curve: with the others alone the mean would jump there.

    Args:
        fits: Of each, what the metric was by step; one that measured nothing does not count.
        name: The metric.
    """
    fits = [fit for fit in fits if fit]
    steps = sorted(set.intersection(*(set(fit) for fit in fits))) if fits else []
    at = [[fit[step] for fit in fits] for step in steps]
    return Curve(
        steps=tuple(steps),
        mean=tuple(statistics.fmean(values) for values in at),
        low=tuple(min(values) for values in at),
        high=tuple(max(values) for values in at),
        n_fits=len(fits),
        name=name,
    )


def _measured(trial: Trial, name: str, folder: Path) -> list[dict[int, float]]:
    """Reads the curves of the fits that are done, or of the first where none is."""
    noted: Mapping[str, str] = trial.notes.get("runs", {})
    done = [key for key in noted if key in trial.notes.get("results", {})] or list(noted)
    runs = [run_of(trial, key, folder) for key in done]
    series = [load_metrics(run.metrics_file).series(name) for run in runs if run is not None]
    return [dict(zip(steps, values, strict=True)) for steps, values in series]
