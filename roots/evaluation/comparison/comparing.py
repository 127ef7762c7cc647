"""Runs side by side: settings, results, means over seeds, and what can be said of differences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from roots.errors import ConfigError, nearest
from roots.evaluation.comparison.groups import ASIDE, Group, Spread, grouped
from roots.evaluation.comparison.reading import MISSING, SEEN, ComparedRun, read_run
from roots.evaluation.comparison.validation import other_context, other_loss, other_validation
from roots.evaluation.comparison.welch import CONFIDENCE, Difference, welch
from roots.runs import find_runs


@dataclass(frozen=True)
class Outcome:
    """What one run came to.

    Args:
        run: Its name and number.
        group: The letter of its group.
        seed: Its seed.
        state: running, finished, failed or interrupted.
        step: The last step that it reported.
        final: The metric where it was last measured; None where it never was.
        best: The best of it.
        best_step: Where that was.
        tokens: Input tokens trained on.
        tokens_per_second: Median over its reports.
        training_seconds: Without validations, checkpoints and samples.
        wall_seconds: Of all its fits.
    """

    run: str
    group: str
    seed: str
    state: str
    step: int
    final: float | None
    best: float | None
    best_step: int | None
    tokens: int
    tokens_per_second: float | None
    training_seconds: float
    wall_seconds: float


@dataclass(frozen=True)
class Comparison:
    """What a comparison of runs found.

    Args:
        groups: Runs that differ only by seed are one group; the first is what others are held to.
        metric: What is compared.
        mode: Whether the `min` or the `max` of it is best.
    """

    groups: tuple[Group, ...]
    metric: str
    mode: str

    @cached_property
    def outcomes(self) -> list[Outcome]:
        """What each run came to, by group."""
        return [self._outcome(g, run) for g in self.groups for run in g.runs]

    @cached_property
    def settings(self) -> dict[str, list[Any]]:
        """The settings that differ between groups, by dotted name: one value of each group."""
        each = [group.runs[0].settings for group in self.groups]
        names = sorted({name for settings in each for name in settings} - {*ASIDE})
        columns = {name: [s.get(name, MISSING) for s in each] for name in names}
        return {name: values for name, values in columns.items() if _differ(values)}

    @cached_property
    def apart(self) -> dict[str, str]:
        """Why a group cannot be held to the first, by its letter; empty where all can."""
        first = self.groups[0].runs[0]
        reasons = {g.letter: self._why_apart(first, g.runs[0]) for g in self.groups[1:]}
        return {letter: why for letter, why in reasons.items() if why}

    @cached_property
    def spreads(self) -> dict[str, dict[str, Spread]]:
        """By letter of the group: the spread of `final`, `best` and `tokens_per_second`.

        Only finished runs count, and one of each seed; a group may have none.
        """
        return {group.letter: self._spreads(group) for group in self.groups}

    @cached_property
    def differences(self) -> dict[str, dict[str, Difference]]:
        """By letter of each later group: how its `final` and `best` differ from the first's."""
        first = self.spreads[self.groups[0].letter]
        held = [g.letter for g in self.groups[1:] if g.letter not in self.apart]
        return {letter: _held_to(first, self.spreads[letter]) for letter in held}

    @cached_property
    def remarks(self) -> list[str]:
        """What a reader should know before a conclusion is drawn."""
        said = [f"{letter} is not comparable with A: {why}" for letter, why in self.apart.items()]
        for group in self.groups:
            said += _left_out(group)
            if group.letter not in self.apart:
                said += other_context(self.groups[0].runs[0], group.runs[0])
        if not any(self.metric in run.metrics.names for run in self.groups[0].runs):
            said.append(
                f"A did not report {self.metric}, so nothing is held to it: name first a run that"
                " did."
            )
        tests = [d for each in self.differences.values() for d in each.values() if d.p is not None]
        if len(tests) > 1:
            level = 1 - CONFIDENCE
            said.append(
                f"{len(tests)} tests are made at once. For a {level:.0%} risk over all of them, ask"
                f" for p below {level / len(tests):.2g}."
            )
        return said

    def plain(self) -> dict[str, Any]:
        """Gives all of it as plain values."""
        return {
            "metric": self.metric,
            "mode": self.mode,
            "groups": [
                {
                    "group": group.letter,
                    "runs": [str(run.run.path) for run in group.runs],
                    "not_comparable": self.apart.get(group.letter, ""),
                    "spread": {
                        what: {"n": s.n, "mean": s.mean, "standard_deviation": s.deviation}
                        for what, s in self.spreads[group.letter].items()
                    },
                    "difference_from_first": {
                        what: asdict(d) | {"is_significant": d.is_significant}
                        for what, d in self.differences.get(group.letter, {}).items()
                    },
                }
                for group in self.groups
            ],
            "runs": [asdict(outcome) for outcome in self.outcomes],
            "settings": self.settings,
            "remarks": self.remarks,
        }

    def _outcome(self, group: Group, run: ComparedRun) -> Outcome:
        values = run.metrics.series(self.metric)[1]
        best = run.metrics.best(self.metric, self.mode)
        tokens = run.metrics.series(SEEN)[1]
        return Outcome(
            run=run.name,
            group=group.letter,
            seed=run.seed,
            state=run.state,
            step=run.metrics.last_step,
            final=values[-1] if values else None,
            best=best[1] if best else None,
            best_step=best[0] if best else None,
            tokens=int(tokens[-1]) if tokens else 0,
            tokens_per_second=run.rate,
            training_seconds=max(run.training_seconds().values(), default=0.0),
            wall_seconds=run.wall_seconds,
        )

    def _spreads(self, group: Group) -> dict[str, Spread]:
        outcomes = [self._outcome(group, run) for run in group.counted]
        found = {}
        for what in ("final", "best", "tokens_per_second"):
            each = [getattr(outcome, what) for outcome in outcomes]
            values = tuple(value for value in each if value is not None)
            if values:
                found[what] = Spread(values)
        return found

    def _why_apart(self, first: ComparedRun, other: ComparedRun) -> str:
        if first.objective != other.objective:
            return (
                f"{other.name} trains {other.objective}, {first.name} {first.objective}:"
                f" {self.metric} is not the same quantity."
            )
        if unlike := other_validation(first, other):
            return unlike
        if self.metric.endswith("/loss") and (unlike := other_loss(first, other)):
            return unlike
        if self.metric not in other.metrics.names:
            return f"{other.name} did not report {self.metric}."
        return ""


def compare(runs: Iterable[str | Path], *, metric: str = "") -> Comparison:
    """Compares runs by the files of their directories.

    Args:
        runs: Directories of runs, folders of several, names of runs, or patterns.
        metric: What is compared; empty takes what tells the first run's best checkpoint.

    Raises:
        CheckpointError: A run is missing or damaged.
        ConfigError: There are fewer than two runs, or none reported the metric.
        DataError: A metrics file is damaged.
    """
    found = [read_run(run.path) for run in find_runs(runs)]
    if len(found) < 2:
        names = f" ({found[0].name})" if found else ""
        raise ConfigError(
            f"A comparison needs two runs at least, and {len(found)} was given{names}. Name"
            " another, or a folder of several, such as runs/quickstart."
        )
    known = {name for run in found for name in run.metrics.names}
    chosen = metric or found[0].monitor
    if chosen not in known:
        raise ConfigError(
            f"No run reported {chosen}{nearest(chosen, known)}. Choose another with --metric; they"
            f" reported {', '.join(sorted(known)) or 'nothing'}."
        )
    mode = found[0].mode if chosen == found[0].monitor else _usual_mode(chosen)
    return Comparison(tuple(grouped(found)), chosen, mode)


def _usual_mode(metric: str) -> str:
    """Whether the least or the greatest of a metric is best, by its name."""
    words = {*re.split(r"[/_]", metric)}
    return "min" if _LEAST & words and "scale" not in words else "max"


_LEAST = {
    *("loss", "error", "nats", "bits", "perplexity", "mse", "ece", "mce", "kl"),
    *("norm", "seconds", "mib", "bytes", "padding", "skipped"),
}
"""Words in names of what is best when it is small."""


def _held_to(first: dict[str, Spread], other: dict[str, Spread]) -> dict[str, Difference]:
    whats = [what for what in ("final", "best") if what in first and what in other]
    return {what: welch(first[what].values, other[what].values) for what in whats}


def _left_out(group: Group) -> list[str]:
    counted = group.counted
    said = []
    for run in group.runs:
        if run.state != "finished":
            said.append(f"{run.name} is {run.state}, so it does not count in means and tests.")
        elif run not in counted:
            said.append(
                f"{run.name} has the seed ({run.seed}) of another run of {group.letter}: it tells"
                " nothing new, and does not count in means and tests."
            )
    if 0 < len(counted) == 1 < len(group.runs) or not counted:
        n = len(counted)
        said.append(f"{group.letter} has {n} run{'s' * (n != 1)} that count{'s' * (n == 1)}.")
    return said


def _differ(values: Sequence[Any]) -> bool:
    return any(value != values[0] for value in values)
