"""The metrics of two runs: bitwise equal, within a tolerance, or different, and from where on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from roots.errors import DataError
from roots.runs import Metrics

MACHINE = ("_per_second", "_per_second_median", "_seconds", "/mfu", "/fraction_of_matmul_peak")
"""How the names of metrics end that measure the machine, which are not compared."""
DIVISION = ("compile/", "train/padding_fraction")
"""How those begin that tell how the work was divided: over fits, ranks and micro-batches."""


@dataclass(frozen=True)
class Deviation:
    """How far a metric went from what it was.

    Args:
        metric: Its name.
        largest: The largest relative difference, |then - now| / max(|then|, |now|).
        step: Where that was.
    """

    metric: str
    largest: float
    step: int


@dataclass(frozen=True)
class Verdict:
    """What the metrics of the second run say of the first's.

    Args:
        tolerance: Relative difference that is taken for equal.
        n_values: Values compared.
        last_step: The last step that was compared.
        differs_from: The first step with a value beyond the tolerance; None where there is none.
        equal_until: The last reported step before the first that is not bitwise equal; None where
            all are, 0 where the first one is not.
        deviations: The metrics that are not bitwise equal, the farthest first.
        missing: Values that the second run did not report, as `metric at step N`.
    """

    tolerance: float
    n_values: int
    last_step: int
    differs_from: int | None
    equal_until: int | None
    deviations: tuple[Deviation, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """`bitwise`, `within` the tolerance, or `different`."""
        if self.differs_from is not None:
            return "different"
        return "bitwise" if self.equal_until is None else "within"

    def __str__(self) -> str:
        n = f"{self.n_values:,} values until step {self.last_step:,}"
        if self.kind == "bitwise":
            return f"bitwise equal: {n}"
        worst = f", at most {self.deviations[0].largest:.2g} apart" if self.deviations else ""
        until = f"bitwise equal until step {self.equal_until:,}" if self.equal_until else ""
        tail = f"; {until}" if until else ""
        if self.kind == "within":
            return f"within the tolerance of {self.tolerance:g} (relative): {n}{worst}{tail}"
        return (
            f"different from step {self.differs_from:,} on, beyond the tolerance of"
            f" {self.tolerance:g} (relative): {n}{worst}{tail}"
        )


def judge(then: Metrics, now: Metrics, *, steps: int, tolerance: float = 0.0) -> Verdict:
    """Compares every metric that the first run reported until a step, but MACHINE and DIVISION.

    Args:
        then: The metrics of the first run.
        now: Those of the second.
        steps: The last step to compare.
        tolerance: Relative difference that is taken for equal.

    Raises:
        DataError: There is no value to compare.
    """
    apart: dict[int, dict[str, float]] = {}
    n_values = 0
    reported = [step for step in then.rows if step <= steps]
    for step in reported:
        pairs = {
            name: (value, now.rows.get(step, {}).get(name)) for name, value in _told(then, step)
        }
        n_values += len(pairs)
        apart[step] = {n: far for n, (a, b) in pairs.items() if (far := _apart(a, b)) > 0}
    if not n_values:
        raise DataError(
            f"The first run reported nothing until step {steps:,} that could be compared. Train"
            " longer, or report more often (trainer.log_every_steps)."
        )
    unequal = [step for step in reported if apart[step]]
    beyond = [step for step in unequal if max(apart[step].values()) > tolerance]
    before = [step for step in reported if unequal and step < unequal[0]]
    return Verdict(
        tolerance=tolerance,
        n_values=n_values,
        last_step=max(reported),
        differs_from=beyond[0] if beyond else None,
        equal_until=max(before, default=0) if unequal else None,
        deviations=_deviations(apart),
        missing=tuple(
            f"{name} at step {step}"
            for step in unequal
            for name, far in apart[step].items()
            if math.isinf(far)
        ),
    )


def _told(metrics: Metrics, step: int) -> list[tuple[str, float]]:
    told = metrics.rows[step].items()
    return [(n, v) for n, v in told if not (n.endswith(MACHINE) or n.startswith(DIVISION))]


def _apart(then: float, now: float | None) -> float:
    """Gives the relative difference; infinite where one is missing, or not a number alone."""
    if now is None:
        return math.inf
    if then == now or (math.isnan(then) and math.isnan(now)):
        return 0.0
    if not (math.isfinite(then) and math.isfinite(now)):
        return math.inf
    return abs(then - now) / max(abs(then), abs(now))


def _deviations(apart: dict[int, dict[str, float]]) -> tuple[Deviation, ...]:
    farthest: dict[str, Deviation] = {}
    for step, each in apart.items():
        for name, far in each.items():
            if name not in farthest or far > farthest[name].largest:
                farthest[name] = Deviation(name, far, step)
    return tuple(sorted(farthest.values(), key=lambda d: -d.largest))
