"""What is compared of a run, read from the files of its directory."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from roots.runs import Metrics, Run, environment_of, load_metrics, open_run, state_of

RATE, SEEN = "train/tokens_per_second", "train/tokens_seen"
MISSING = "(not set)"


@dataclass(frozen=True)
class ComparedRun:
    """A run, as far as it is compared.

    Args:
        run: Its directory.
        state: running, finished, failed or interrupted.
        settings: Its configuration by dotted names; what was changed at a resume is a text that
            tells both values, and until when the first held.
        fingerprint: That of its data; empty where it was not recorded.
        validated_on: The fingerprint of the rows that it was validated on; empty where that of its
            data tells it.
        metrics: What it reported.
        monitor: The metric that tells its best checkpoint.
        mode: Whether the best has the `min` or the `max` of it.
        wall_seconds: Of all its fits; 0 where that was not recorded.
    """

    run: Run
    state: str
    settings: dict[str, Any]
    fingerprint: str
    validated_on: str
    metrics: Metrics
    monitor: str
    mode: str
    wall_seconds: float

    @property
    def name(self) -> str:
        """How it is called in tables: the run's name and number."""
        path = self.run.path.resolve()
        return f"{path.parent.name}/{path.name}"

    @property
    def objective(self) -> str:
        """The module's class, which says what `val/loss` is a loss of."""
        return str(self.settings.get("model.class_path", ""))

    @property
    def seed(self) -> str:
        """Its seed, and the data's own beside it where they have one."""
        seeds = [self.settings.get(name) for name in ("seed", "data.init_args.seed")]
        return "/".join(str(seed) for seed in seeds if seed is not None)

    @property
    def rate(self) -> float | None:
        """Median tokens per second of the reports; the first, which warms up, only when alone."""
        values = self.metrics.series(RATE)[1]
        return statistics.median(values[1:] or values) if values else None

    def training_seconds(self) -> dict[float, float]:
        """Gives, for each report, the time spent training until there, in seconds.

        It is what the rates of the reports say; validations, checkpoints and samples are not in it.
        """
        spent, seen = 0.0, 0.0
        found: dict[float, float] = {}
        for step, row in self.metrics.rows.items():
            if row.get(RATE, 0.0) > 0 and SEEN in row:
                spent += (row[SEEN] - seen) / row[RATE]
                seen = row[SEEN]
                found[step] = spent
        return found


def read_run(path: Path | str) -> ComparedRun:
    """Reads what is compared of a run.

    Raises:
        CheckpointError: There is no run at `path`, or its configuration or environment is damaged.
        DataError: Its metrics file is damaged.
    """
    run = open_run(path)
    monitor, mode = run.monitor
    state = state_of(run)
    data = environment_of(run).get("data", {})
    return ComparedRun(
        run=run,
        state=state.state,
        settings=_over_time(run),
        fingerprint=data.get("fingerprint") or "",
        validated_on=data.get("validated_on") or "",
        metrics=load_metrics(run.metrics_file),
        monitor=monitor,
        mode=mode,
        wall_seconds=state.seconds,
    )


def _over_time(run: Run) -> dict[str, Any]:
    """Gives the settings of a run; of one that was changed, `0.1 until step 500, then 0.0005`."""
    now = flat(run.config())
    former = [(step, flat(config)) for step, config in run.former_configs().items()]
    settings = dict(now)
    for name in sorted({*now}.union(*(config for _, config in former))):
        values = [config.get(name, MISSING) for _, config in former] + [now.get(name, MISSING)]
        changes = [
            f"{before} until step {step:,}"
            for (step, _), (before, after) in zip(former, pairwise(values), strict=True)
            if before != after
        ]
        if changes:
            settings[name] = ", then ".join([*changes, str(values[-1])])
    return settings


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Gives the settings of a configuration by their dotted names; lists stay whole."""
    if not isinstance(config, dict) or (not config and prefix):
        return {prefix: config}
    found: dict[str, Any] = {}
    for name, value in config.items():
        found |= flat(value, f"{prefix}.{name}" if prefix else str(name))
    return found
