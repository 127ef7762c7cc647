"""What a run's directory tells, read for a person: what cannot be read is said, not raised."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import yaml

from roots.errors import DataError
from roots.evaluation.along import at_steps
from roots.runs import Run, read_metrics

T = TypeVar("T")
Curve = tuple[list[float], list[float]]
"""Where the points are (steps, tokens, seconds) and how high."""

STAGES = ("val", "test")
_ELSEWHERE = re.compile(r"(validate|test)-[0-9a-f]{8}\.json")
_TOKEN_MODULES = ("CausalLM", "MaskedLM", "Seq2Seq")


@dataclass
class RunRecord:
    """The files of a run's directory as plain values.

    Args:
        run: The directory.
        config: The resolved configuration.
        environment: Versions, hardware, command.
        data: The card of the data, as the data module wrote it.
        details: By stage (`val`, `test`): what its evaluation found beside numbers.
        test: What `roots test` measured, by name, of which checkpoint and data.
        validated: What `roots validate` measured, by name, of which checkpoint and data.
        elsewhere: What either measured on other data than the run's own, by its file.
        samples: Texts that the network wrote, oldest first.
        rows: The finite numbers of each logged row, by name.
        troubles: What could not be read, in sentences.
        out: Where its page and figures go; None is the run's directory.
    """

    run: Run
    config: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    test: dict[str, Any] = field(default_factory=dict)
    validated: dict[str, Any] = field(default_factory=dict)
    elsewhere: dict[str, dict[str, Any]] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, float]] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    out: Path | None = None

    @property
    def page_folder(self) -> Path:
        """Where its page and figures go."""
        return self.out or self.run.path

    @property
    def name(self) -> str:
        """The run's name and number."""
        return f"{self.run.path.absolute().parent.name}/{self.run.path.absolute().name}"

    @property
    def names(self) -> list[str]:
        """What was logged, sorted."""
        return sorted({name for row in self.rows for name in row} - {"step"})

    @property
    def last_step(self) -> int:
        """The last step that was logged; 0 where none was."""
        return int(max((row["step"] for row in self.rows), default=0))

    def last(self, name: str) -> float | None:
        """The newest value of a quantity."""
        values = self.curve(name)[1]
        return values[-1] if values else None

    def curve(self, name: str, over: str = "step") -> Curve:
        """Gives a logged quantity.

        Args:
            name: Its name.
            over: `step`; `tokens` or `seconds` of training since the run began.
        """
        steps = [row["step"] for row in self.rows]
        at = (
            dict(zip(steps, steps, strict=True))
            if over == "step"
            else at_steps(self._at(over), steps)
        )
        found = [(at[r["step"]], r[name]) for r in self.rows if name in r and r["step"] in at]
        return [x for x, _ in found], [y for _, y in found]

    def setting(self, *path: str) -> Any:
        """Gives a value of the configuration; None where it has none."""
        value: Any = self.config
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    @property
    def loss_unit(self) -> str:
        """What the loss is measured in."""
        if self.setting("data", "init_args", "kind") == "value":
            return "squared error"
        kind = str(self.setting("model", "class_path") or "").rpartition(".")[2]
        if kind == "PreferenceLM":
            return "nats per pair"
        by_token = kind in _TOKEN_MODULES or any(n.endswith("nats_per_token") for n in self.names)
        if by_token:
            return "nats per token"
        return "nats per label" if kind else "nats"

    def _at(self, over: str) -> dict[float, float]:
        """Gives tokens, or seconds of training, at each step that reported them.

        The seconds are those of the stopwatch: between two reports it counted the tokens, and the
        rate is what they came to.
        """
        known = [r for r in self.rows if "train/tokens_seen" in r]
        if over == "tokens":
            return {row["step"]: row["train/tokens_seen"] for row in known}
        timed = [{"step": 0.0, "train/tokens_seen": 0.0}, *known]
        seconds, at = 0.0, {}
        for before, row in pairwise(timed):
            rate = row.get("train/tokens_per_second", 0.0)
            if rate > 0:
                seconds += (row["train/tokens_seen"] - before["train/tokens_seen"]) / rate
            at[row["step"]] = seconds
        return at

    @property
    def seconds(self) -> float:
        """Seconds of training, without validation, samples and checkpoints."""
        return max(self._at("seconds").values(), default=0.0)


def read_record(run: Run) -> RunRecord:
    """Reads what is there; a file that is missing is left out, one that is damaged is told."""
    record = RunRecord(run)
    folder = run.path

    def take(name: str, parse: Callable[[str], T], empty: T, kind: type) -> T:
        file = folder / name
        if not file.is_file():
            return empty
        try:
            found = parse(file.read_text(encoding="utf-8"))
            if not isinstance(found, kind):
                raise TypeError(f"it holds no {kind.__name__}")
        except (DataError, OSError, ValueError, TypeError, yaml.YAMLError, csv.Error) as error:
            why = " ".join(str(error).replace(str(file), "it").split())[:300]
            record.troubles.append(f"{name} cannot be read ({why}): the page goes without it.")
            return empty
        return found

    record.config = take("config.yaml", yaml.safe_load, {}, dict)
    record.environment = take("environment.json", json.loads, {}, dict)
    record.data = take("data.json", json.loads, {}, dict)
    record.test = take("test.json", json.loads, {}, dict)
    record.validated = take("validate.json", json.loads, {}, dict)
    names = sorted(file.name for file in folder.glob("*-*.json"))
    elsewhere = filter(_ELSEWHERE.fullmatch, names)
    record.elsewhere = {name: take(name, json.loads, {}, dict) for name in elsewhere}
    for stage in STAGES:
        found: dict[str, Any] = take(run.details_file(stage).name, json.loads, {}, dict)
        if found:
            record.details[stage] = found
    record.samples = take("samples.jsonl", lambda _: run.samples.read(), [], list)
    rows: list[dict[str, str]] = take(
        "metrics.csv", lambda _: read_metrics(run.metrics_file), [], list
    )
    record.rows, damaged = _numbers(rows)
    if damaged:
        record.troubles.append(
            f"metrics.csv: {damaged:,} of {len(rows):,} rows are damaged, and are left out."
        )
    record.troubles += _ended_without_numbers(rows, record)
    return record


def _ended_without_numbers(rows: list[dict[str, str]], record: RunRecord) -> list[str]:
    """Words where a loss ended in NaN or infinity: the page shows the numbers before."""
    words = []
    for name in ("train/loss", "val/loss"):
        told = [(row.get("step"), row[name]) for row in rows if row.get(name)]
        step, value = told[-1] if told else ("", "0")
        steps, numbers = record.curve(name)
        if value.lower().strip("+-") in ("nan", "inf", "infinity"):
            before = f"{numbers[-1]:.4g} at step {steps[-1]:,.0f}" if steps else "no number"
            words.append(
                f"{name} is {value} at step {step}, the last that was logged; before it was"
                f" {before}. Curves and figures show the numbers only."
            )
    return words


def _numbers(rows: Iterable[dict[Any, Any]]) -> tuple[list[dict[str, float]], int]:
    """Turns rows of words into rows of finite numbers; counts those that are none."""
    kept, damaged = [], 0
    for row in rows:
        try:
            numbers = {name: float(word) for name, word in row.items() if word != ""}
            step = numbers["step"]
        except (KeyError, ValueError, TypeError, AttributeError):
            damaged += 1
            continue
        if not math.isfinite(step):
            damaged += 1
            continue
        kept.append({name: value for name, value in numbers.items() if math.isfinite(value)})
    return kept, damaged
