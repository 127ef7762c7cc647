"""How trials are put into words and in order."""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from roots.sweeps.definition import Definition
from roots.sweeps.metric import Metric
from roots.sweeps.parameters import Parameter
from roots.sweeps.trial import FAILED, FINISHED, PRUNED, Trial

_NOTHING = object()


def ranked(trials: Sequence[Trial], metric: Metric) -> list[Trial]:
    """Gives the finished trials, the best first; of equals the earlier."""
    done = [trial for trial in trials if trial.state == FINISHED and trial.value is not None]
    return sorted(done, key=lambda trial: (metric.cost(trial.value or 0.0), trial.number))


def told(definition: Definition, trials: Sequence[Trial], number: int, n_trials: int) -> str:
    """Words how a trial ended, and which is the best so far."""
    trial = next(t for t in trials if t.number == number)
    name = definition.metric.name
    around = f" ± {deviation:.2g}" if (deviation := spread(trial)) is not None else ""
    value = "" if trial.value is None else f"{name} {trial.value:.5g}{around}"
    best = ranked(trials, definition.metric)
    parts = [f"trial {number + 1}/{n_trials}", _ending(trial, value)]
    if trial.state != FAILED:
        parts.append(" ".join(settings(definition, trial)))
        parts.append(f"{trial.notes.get('seconds', 0.0):.0f} s")
    if best:
        parts.append(f"best {best[0].value:.5g} ({best[0].label})")
    return " · ".join(parts)


def spread(trial: Trial) -> float | None:
    """Gives the standard deviation over a trial's fits; None where there is none."""
    results = list(trial.notes.get("results", {}).values())
    is_one = len(results) > 1 and all(map(math.isfinite, results))
    return statistics.stdev(results) if is_one else None


def result(definition: Definition, trial: Trial) -> str:
    """Words what a finished trial came to, with the spread of its fits where there are several."""
    words = f"{definition.metric.name} {trial.value:.6g}"
    around = spread(trial)
    return words if around is None else f"{words} ± {around:.2g} over {definition.repeats}"


def fit_command(folder: Path) -> str:
    """Words the command that trains by the best trial's run file, for a shell."""
    return f"roots fit --config {shlex.quote(str(folder / 'best.yaml'))}"


def settings(definition: Definition, trial: Trial) -> list[str]:
    """Words what a trial tried, without what is constant."""
    shorts = short_names([parameter.name for parameter in definition.searched])
    return [
        f"{shorts[parameter.name]}={value_text(parameter, trial.values[parameter.name])}"
        for parameter in definition.searched
        if parameter.name in trial.values
    ]


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Shortens dotted names to as many last parts as keep them apart."""
    shorts: dict[str, str] = {}
    for name in names:
        parts = [part for part in name.split(".") if part != "init_args"]
        ends = [".".join(parts[-n:]) for n in range(1, len(parts) + 1)]
        others = [o for o in names if o != name]
        shorts[name] = next((e for e in ends if not any(_ends(o, e) for o in others)), name)
    return shorts


def value_text(parameter: Parameter, value: Any) -> str:
    """Writes a value in a few characters: of an object its class, and what sets it apart.

    Args:
        parameter: Whose value it is; of its choices, those of the same class are compared.
        value: A number, a text, or a class_path with its init_args.
    """
    if not (isinstance(value, Mapping) and "class_path" in value):
        return number_text(value)
    name = str(value["class_path"])
    ours = value.get("init_args") or {}
    alike = [
        choice.get("init_args") or {}
        for choice in parameter.choices
        if isinstance(choice, Mapping) and choice.get("class_path") == name
    ]
    apart = [
        f"{key}={number_text(given)}"
        for key, given in ours.items()
        if any(other.get(key, _NOTHING) != given for other in alike)
    ]
    short = name.rpartition(".")[2]
    return f"{short}({', '.join(apart)})" if apart else short


def number_text(value: Any) -> str:
    """Writes a value in a few characters."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _ends(name: str, end: str) -> bool:
    return f".{name.replace('.init_args', '')}".endswith(f".{end}")


def _ending(trial: Trial, value: str) -> str:
    if trial.state == FAILED:
        return f"failed: {trial.notes.get('because', '')}"
    if trial.state == PRUNED:
        return f"ended early at {value}" if value else "ended early"
    return value
