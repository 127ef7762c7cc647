"""The page of a run: what was trained on what, how it went, what it says, how to repeat it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from roots.evaluation import answer_section, class_section, data_section, number_section
from roots.evaluation.class_figures import RATES
from roots.evaluation.details_section import damage_told
from roots.evaluation.figures import (
    loss_figure,
    measured_figure,
    progress_figure,
    throughput_figure,
)
from roots.evaluation.page import Page
from roots.evaluation.run_record import RunRecord, read_record
from roots.records import duration
from roots.runs import Run, check_place, redact_values

PAGE = "report.html"
MOST_SAMPLES = 40
LONGEST_SAMPLE = 2000

HEADLINES = (
    "bits_per_byte",
    "exact_match",
    "f1_micro",
    "all_rows/bleu",
    "bleu",
    "accuracy",
    "pearson",
    "loss",
)
"""What tells most of a run, by name, the first that was measured."""


def report_run(run: Run, out: Path | None = None) -> Path:
    """Writes report.html and its figures as PNG files into a run's directory; gives the page.

    What is missing or damaged there is left out, and the page says so.

    Args:
        run: The run.
        out: Another folder to write into, which is made.

    Raises:
        ConfigError: Nothing can be written there.
    """
    record = read_record(run)
    record.out = out
    check_place(record.page_folder, "--out", is_folder=True)
    record.page_folder.mkdir(parents=True, exist_ok=True)
    page = Page(record.name, summary(record))
    for trouble in record.troubles:
        page.text(f"Note: {trouble}")
    if not record.rows:
        page.text("Nothing was logged yet, so there are no curves.")
    for file, add in _SECTIONS:
        with damage_told(page, file):
            add(page, record)
    return page.save(record.page_folder / PAGE)


def summary(record: RunRecord) -> str:
    """Words a run in one line: what, on what, how long, and the number that counts."""
    parts = [part(record) for part in (_trained, _how_long, _best)]
    return " · ".join(part for part in parts if part)


def _best(record: RunRecord) -> str:
    found = headline(record)
    return f"{found[0]} {found[1]:.4g} at step {found[2]:,}" if found else ""


def headline(record: RunRecord) -> tuple[str, float, int] | None:
    """Gives the number that tells most of the best validation: name, value and step."""
    monitor, mode = _monitor(record)
    steps, values = record.curve(monitor)
    if not steps:
        return None
    best = (min if mode == "min" else max)(values)
    step = steps[values.index(best)]
    for name in HEADLINES:
        at = dict(zip(*record.curve(f"val/{name}"), strict=True))
        if step in at:
            return f"val/{name}", at[step], int(step)
    return monitor, best, int(step)


def _monitor(record: RunRecord) -> tuple[str, str]:
    name = record.setting("trainer", "monitor") or "val/loss"
    return str(name), str(record.setting("trainer", "monitor_mode") or "min")


def _trained(record: RunRecord) -> str:
    module = _last(record.setting("model", "class_path"))
    network = ("model", "init_args", "network", "init_args")
    kind = record.setting(*network, "config", "model_type") or ""
    name = Path(str(record.setting(*network, "path") or "")).name or kind
    data = record.environment.get("data")
    known = data.get("path") if isinstance(data, Mapping) else None
    path = str(known or record.data.get("path") or "")
    words = f"{module} ({name})" if name else module
    return f"{words} on {Path(path).name}" if path else words


def _how_long(record: RunRecord) -> str:
    if not record.rows:
        return ""
    steps = f"{record.last_step:,} steps"
    tokens = record.last("train/tokens_seen")
    seen = f", {tokens:,.0f} tokens" if tokens is not None else ""
    return f"{steps}{seen}, {duration(record.seconds)} of training"


def _curves(page: Page, record: RunRecord) -> None:
    for name, figure, caption in _figures(record):
        if figure is not None:
            page.kept_figure(figure, record.page_folder / f"{name}.png", caption)


def _figures(record: RunRecord) -> Iterator[tuple[str, Any, str]]:
    yield (
        "loss",
        loss_figure(record),
        "Loss of training and validation, learning rate and gradient norm over optimizer steps",
    )
    yield "progress", progress_figure(record), "Loss over tokens, and over the time of training"
    yield "measured", measured_figure(record), "What validations measured, over optimizer steps"
    yield (
        "throughput",
        throughput_figure(record),
        "Tokens per second of training; validations, samples and checkpoints are left out",
    )


def _numbers(page: Page, record: RunRecord) -> None:
    """Adds a table of what was measured, as a whole and of each group: newest, lowest, highest."""
    names = [n for n in record.names if _is_of_many(n, record.names)]
    shown = [n for n in names if n.startswith("val/")] or [n for n in names if n == "train/loss"]
    told = (record.validated, record.test, *record.elsewhere.values())
    measured = [table for each in told for table in _table(each)]
    if shown or measured:
        page.heading("Numbers")
    for rows, caption in measured:
        page.table(["quantity", "value"], rows, caption)
    if not shown:
        return
    rows = []
    for name in shown:
        steps, values = record.curve(name)
        low, high = min(values), max(values)
        rows.append(
            [name, values[-1], low, _at(steps, values, low), high, _at(steps, values, high)]
        )
    page.table(["quantity", "last", "lowest", "at step", "highest", "at step"], rows)


def _table(told: Mapping[str, Any]) -> Iterator[tuple[list[list[Any]], str]]:
    """Gives what was measured outside the fit, with words for what it is of; none where nothing."""
    rows = [[name, value] for name, value in told.items() if _is_of_many(name, told)]
    if not rows:
        return
    found = told.get("data")
    data: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    kind = "test" if any(str(name).startswith("test/") for name in told) else "validation"
    words = f"On {kind} data"
    if data.get("path"):
        words += f" of {data['path']} (fingerprint {str(data.get('fingerprint'))[:12]})"
    words += f", of the checkpoint {told.get('checkpoint', '?')}"
    if unlike := data.get("unlike"):
        words += f"; not the run's own data: {'; '.join(map(str, unlike))}"
    yield rows, words


def _is_of_many(name: str, names: Container[str]) -> bool:
    """Tells a measure of all rows, or of a group (`val/wiki/loss`), from that of a class."""
    stage, *parts = name.split("/")
    if len(parts) != 2:
        return len(parts) == 1
    where, quantity = (f"{stage}/{part}" for part in parts)
    return parts[0] not in RATES and where not in names and quantity in names


def _at(steps: list[float], values: list[float], value: float) -> int:
    return int(steps[values.index(value)])


def _samples(page: Page, record: RunRecord) -> None:
    """Adds what the network wrote: the newest open, the earlier ones folded away."""
    if not record.samples:
        return
    page.heading("Samples")
    shown = record.samples[-MOST_SAMPLES:]
    steps = list(dict.fromkeys(sample.get("step") for sample in shown))
    for step in reversed(steps):
        text = "\n\n".join(_sample(each) for each in shown if each.get("step") == step)
        newest = step == steps[-1]
        if newest:
            how = "→ what was written, = the reference" if "\n→ " in text else "the prompt in ⟨ ⟩"
            page.text(f"After step {_count(step)}; {how}.")
        page.verbatim(text, "" if newest else f"after step {_count(step)}")


def _sample(sample: Mapping[str, Any]) -> str:
    """Words a sample: a prompt that is continued, or a source with its output and reference."""
    if "output" in sample:
        signs = {"source": "", "output": "→ ", "reference": "= "}
        return "\n".join(f"{sign}{_cut(sample.get(name))}" for name, sign in signs.items())
    return f"⟨{sample.get('prompt', '')}⟩{_cut(sample.get('text'))}"


def _cut(text: object) -> str:
    whole = "" if text is None else str(text)
    return whole if len(whole) <= LONGEST_SAMPLE else f"{whole[:LONGEST_SAMPLE]}…"


def _count(step: Any) -> str:
    return f"{step:,}" if isinstance(step, int) else str(step)


def _surroundings(page: Page, record: RunRecord) -> None:
    environment = record.environment
    if environment:
        page.heading("Environment")
        with damage_told(page, "environment.json"):
            page.table(["what", "which"], _environment(environment))
        whole = json.dumps(redact_values(environment), indent=2, ensure_ascii=False)
        page.verbatim(whole, "environment.json")


def _settings(page: Page, record: RunRecord) -> None:
    if record.config:
        page.heading("Configuration")
        config = redact_values(record.config)  # YAML folds a long value, and doubles its quotes
        whole = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        page.verbatim(whole, "config.yaml")


def _environment(environment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    hardware, code = environment.get("hardware") or {}, environment.get("code") or {}
    packages = environment.get("packages") or {}
    device, ranks = hardware.get("device", ""), hardware.get("ranks", 1)
    yield "device", f"{ranks} × {device}" if ranks != 1 else str(device)
    yield "processor", f"{hardware.get('processor', '')}, {hardware.get('cores', '?')} cores"
    yield "Python", str(environment.get("python", ""))
    yield "packages", ", ".join(f"{name} {version}" for name, version in packages.items())
    if code.get("commit"):
        changed = ", with changes that are not committed" if code.get("changed") else ""
        yield "code", f"{code['commit'][:12]}{changed}"
    for remark in environment.get("remarks") or []:
        yield "remark", str(remark)


def _again(page: Page, record: RunRecord) -> None:
    """Ends the page with the commands that do it again."""
    page.heading("Again")
    config = shlex.quote(str(record.run.config_file))
    lines = [f"roots fit --config {config}"]
    if record.environment.get("command"):
        lines.append(f"# it was started as: {record.environment['command']}")
    lines.append(f"# this page: roots report {shlex.quote(str(record.run.path))}")
    page.verbatim("\n".join(lines))


def _last(class_path: Any) -> str:
    return str(class_path or "").rpartition(".")[2] or "a run"


_SECTIONS: tuple[tuple[str, Callable[[Page, RunRecord], None]], ...] = (
    ("metrics.csv", _curves),
    ("test.json", _numbers),
    ("details-val.json", class_section.add),
    ("details-val.json", number_section.add),
    ("details-val.json", answer_section.add),
    ("samples.jsonl", _samples),
    ("data.json", lambda page, record: data_section.add(page, record.data)),
    ("environment.json", _surroundings),
    ("config.yaml", _settings),
    ("environment.json", _again),
)
"""The parts of the page in their order, and what they are read from."""
