"""Prepares a run a second time, trains it, and judges its metrics by the first ones."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning as L

from roots.callbacks.environment import describe_environment
from roots.errors import ConfigError, DataError
from roots.fit.compose import Composed, put_together
from roots.fit.reproduce.surroundings import differences, doubts, recorded
from roots.fit.reproduce.verdict import Verdict, judge
from roots.fit.run_files import read_run_files
from roots.fit.unchanged import differences as settings_differences
from roots.fit.unchanged import refuse_hidden, refuse_replaced_data
from roots.records import expanded, plain
from roots.runs import (
    Run,
    holder,
    load_metrics,
    open_run,
    redact_values,
    write_record,
)

OURS = ("wandb", "wandb_checkpoints", "trackio", "tensorboard")
"""Settings of the trainer that a second run never has: it is no run of a researcher's log."""


class StopAfter(L.Callback):
    """Ends a fit after some of its steps; the schedule is that of the whole run.

    Args:
        steps: Optimizer steps.
    """

    def __init__(self, *, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any, **__: Any) -> None:
        """Stops when the steps are done."""
        if trainer.global_step >= self.steps:
            trainer.should_stop = True


@dataclass(frozen=True)
class Reproduction:
    """A run that is ready to be run again.

    Args:
        run: The first run.
        composed: The second.
        steps: The optimizer steps to do again.
        tolerance: Relative difference that is taken for equal.
        changes: Settings that differ from the first run's, as `name: then → now`.
        doubts: What is not known of the first run, or cannot be done again.
    """

    run: Run
    composed: Composed
    steps: int
    tolerance: float
    changes: list[str]
    doubts: list[str]

    @cached_property
    def differences(self) -> list[str]:
        """Where code, packages, hardware and data differ, as `name: then → now`."""
        now = redact_values(describe_environment(self.composed.trainer, self.composed.data))
        return differences(recorded(self.run), plain(now))

    def fit(self) -> tuple[Run, Verdict]:
        """Trains in a new directory, and writes the verdict there (reproduction.json).

        Raises:
            ConfigError: Its epochs turn out to have fewer steps than are to be done again.
            DataError: The data are not those of the first run.
        """
        self._check_data()
        _settle(self.run, self.composed, self.steps)
        trainer = self.composed.trainer
        if self.steps < trainer.max_steps:
            trainer.callbacks.insert(0, StopAfter(steps=self.steps))  # type: ignore[attr-defined]
        run = self.composed.fit()
        then, now = (load_metrics(each.metrics_file) for each in (self.run, run))
        verdict = judge(then, now, steps=self.steps, tolerance=self.tolerance)
        if trainer.is_global_zero:
            told = {"of": str(self.run.path), "kind": verdict.kind, **asdict(verdict)}
            told |= {"differences": self.differences, "changes": self.changes}
            write_record(run.path / "reproduction.json", told)
        return run, verdict

    def _check_data(self) -> None:
        data = self.composed.data
        refuse_replaced_data(self.run, data)
        if not data.is_ready:
            data.prepare_data()
        before = recorded(self.run).get("data", {}).get("fingerprint")
        if before and before != data.fingerprint:
            raise DataError(
                f"The data in {data.path} are not those that {self.run.path} was trained on"
                f" (fingerprint {data.fingerprint[:12]}, then {before[:12]}), so its numbers cannot"
                " come again. Bring the old ones back, or name their place by a flag."
            )


def reproduce(
    path: Path | str, *, steps: int = 0, tolerance: float = 0.0, flags: Sequence[str] = ()
) -> Reproduction:
    """Puts a run together once more, by its own configuration, from its first step.

    Args:
        path: The run's directory.
        steps: Do only so many of its first optimizer steps; 0 does all that it reported.
        tolerance: Relative difference that is taken for equal; 0 asks for bitwise equality.
        flags: Command-line flags of `roots fit` that win over the run's configuration.

    Raises:
        CheckpointError: There is no such run, or its files are missing or damaged.
        ConfigError: It has not so many steps, or the second run would not, is still running, or a
            secret is hidden in it.
        DataError: Its metrics are damaged, or it reported nothing.
    """
    run = open_run(path)
    then = recorded(run)
    if not 0 <= tolerance < math.inf:
        raise ConfigError(
            f"tolerance={tolerance:g} is no relative difference. Set it to 0 (bitwise) or to a"
            " number above, such as 1e-5."
        )
    config, until = _first_config(run)
    last = min(_reported(run), until or _reported(run))
    n_steps = _steps_to_do(run, steps, last)
    refuse_hidden(run, config, flags)
    aside = [f"--trainer.{name}=false" for name in OURS]
    composed = put_together(config, [f"--trainer.runs_dir={_above(run, config)}", *aside, *flags])
    _settle(run, composed, n_steps)
    said = doubts(then)
    if until:
        said.append(
            f"The run's settings were changed after step {until:,}, so only the steps until there"
            " can be done again from the beginning."
        )
    changes = [c for c in settings_differences(config, composed.config) if not _is_ours(c)]
    return Reproduction(run, composed, n_steps, tolerance, redact_values(changes), said)


def _first_config(run: Run) -> tuple[dict[str, Any], int]:
    """Gives the configuration that a run began with, and its last step; 0 where it held on."""
    former = sorted(run.path.glob("config-until-*.yaml"), key=_until)
    if not former:
        return read_run_files([run.config_file]), 0
    return read_run_files([former[0]]), _until(former[0])


def _until(file: Path) -> int:
    found = re.search(r"(\d+)$", file.stem)
    return int(found[1]) if found else 0


def _reported(run: Run) -> int:
    last = load_metrics(run.metrics_file).last_step
    if not last:
        raise DataError(
            f"{run.path} reported no step, so there is nothing to compare with. Train its"
            f" configuration as a new run: roots fit --config {run.config_file}."
        )
    return last


def _steps_to_do(run: Run, steps: int, last: int) -> int:
    if steps < 0 or steps > last:
        raise ConfigError(
            f"steps={steps:,} is not among the steps that {run.path} reported and that can be done"
            f" again. Set it between 1 and {last:,}, or leave it out for all of them."
        )
    by = holder(run.path)
    if by and not steps:
        raise ConfigError(
            f"{run.path} is still running ({by}). Wait until it ends, or do its first steps again:"
            f" --steps {last}."
        )
    return steps or last


def _above(run: Run, config: dict[str, Any]) -> Path:
    """Gives the folder of all runs: where the first one lies in its place, the one above it."""
    path = run.path.resolve()
    is_in_place = path.parent.name == config.get("name") and path.name.isdecimal()
    configured = (config.get("trainer") or {}).get("runs_dir", "runs")
    return path.parent.parent if is_in_place else Path(expanded(configured))


def _settle(run: Run, composed: Composed, n_steps: int) -> None:
    """Turns epochs into steps where the data are there, and refuses too few of them."""
    trainer = composed.trainer
    if composed.data.is_ready:
        trainer.settle(composed.data)
    elif trainer.epochs:  # `fit` asks again, once the data are made
        return
    if trainer.max_steps < n_steps:
        raise ConfigError(
            f"The second run would end after {trainer.max_steps:,} steps, before the {n_steps:,}"
            f" of {run.path} that are to be done again. To do fewer of them, add --steps"
            f" {trainer.max_steps} and leave the length of the run (trainer.max_steps) as it was."
        )


def _is_ours(change: str) -> bool:
    return change.startswith(tuple(f"trainer.{name}:" for name in (*OURS, "runs_dir")))
