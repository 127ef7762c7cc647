"""The report of a sweep: one page, its figures as PNG, and the best trial as a run file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from roots.evaluation import Page
from roots.evaluation.canvas import save_png
from roots.runs import write_atomically
from roots.sweeps.checks import composed_of
from roots.sweeps.curves import TRAINING, Curve, curves_of
from roots.sweeps.definition import Definition
from roots.sweeps.figures import draw_curves, draw_history, draw_importances, draw_parallel
from roots.sweeps.study import Study
from roots.sweeps.trial import FAILED, FINISHED, PRUNED, Trial, run_of
from roots.sweeps.words import (
    fit_command,
    number_text,
    ranked,
    result,
    short_names,
    spread,
    value_text,
)


def write_report(definition: Definition, study: Study, best: Trial, folder: Path) -> Path:
    """Writes report.html, the figures and best.yaml into a sweep's directory; gives the page.

    Args:
        definition: The sweep.
        study: Its trials.
        best: The best of them.
        folder: The sweep's directory.
    """
    trials = study.trials()
    write_best(definition, best, folder)
    name, metric = definition.name, definition.metric
    counts = Counter(trial.state for trial in trials)
    page = Page(
        f"Sweep {name}/{folder.name}",
        f"{definition.method} · {metric.name}, the {'more' if metric.maximize else 'less'} the"
        f" better · {', '.join(f'{n} {state}' for state, n in counts.items())}",
    )
    page.text(_best_in_words(definition, best))
    page.text(f"Its run file: {fit_command(folder)}")
    page.heading("Trials")
    page.table(*_table(definition, trials))
    _add_failures(page, trials)
    page.heading("What it found")
    _add(page, folder, "history", draw_history(definition, trials), "Value of each trial.")
    curves = curves_of(definition, trials, folder)
    drawn = draw_curves(definition, trials, curves)
    _add(page, folder, "curves", drawn, _of_the_curves(definition, trials, curves))
    _add(
        page,
        folder,
        "parallel",
        draw_parallel(definition, trials),
        "Each line is a finished trial, from its settings to its value; the best is the thick one.",
    )
    if importances := study.importances():
        caption = (
            "Share of the variance of the finished trials' values that each parameter explains"
            " (fANOVA); with few trials it says little."
        )
        _add(page, folder, "importances", draw_importances(importances), caption)
    said = yaml.safe_dump(definition.given, sort_keys=False, allow_unicode=True)
    page.heading("How it was made")
    page.verbatim(said, "the sweep file")
    page.verbatim((folder / "best.yaml").read_text(encoding="utf-8"), "the best run file")
    return page.save(folder / "report.html")


def write_best(definition: Definition, best: Trial, folder: Path) -> Path:
    """Writes the best trial's configuration as a run file of its own; gives the file."""
    config = _config_of(definition, best, folder)
    trainer = definition.base.get("trainer") or {}
    config["name"] = f"{definition.name}-best"
    config["trainer"]["runs_dir"] = trainer.get("runs_dir", "runs")
    config["trainer"]["progress"] = trainer.get("progress", True)
    whole = [_on_all_rows(config)] if definition.folds else []
    head = [
        f"# The best of the sweep {definition.name}/{folder.name}: {best.label},"
        f" {result(definition, best)}",
        *(f"#   {name}: {_in_a_line(value)}" for name, value in best.values.items()),
        *whole,
        f"# {fit_command(folder)}",
    ]
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    path = folder / "best.yaml"
    write_atomically(path, "\n".join(head) + "\n" + text)
    return path


def _in_a_line(value: Any) -> str:
    """Writes a value so that no part of it leaves the comment that it is in."""
    return number_text(value) if isinstance(value, float) else json.dumps(value)


def _config_of(definition: Definition, trial: Trial, folder: Path) -> dict[str, Any]:
    """Reads a trial's configuration; of one that another machine ran, puts it together again."""
    run = run_of(trial, next(iter(trial.notes["runs"])), folder)
    return composed_of(definition, trial.values).config if run is None else run.config()


def _on_all_rows(config: dict[str, Any]) -> str:
    """Takes the folds out of a run file; says what it trains on instead."""
    arguments = config["data"]["init_args"]
    del arguments["fold"], arguments["folds"]
    if config["trainer"].get("early_stopping"):  # which needs rows to validate on
        return f"# It trains on all rows but the held out share, {arguments['val_fraction']}."
    arguments["val_fraction"] = 0.0
    return "# It trains on all rows. To hold some out, set data.init_args.val_fraction."


def _best_in_words(definition: Definition, best: Trial) -> str:
    values = ", ".join(
        f"{parameter.name} = {value_text(parameter, best.values[parameter.name])}"
        for parameter in definition.searched
        if parameter.name in best.values
    )
    return f"The best is {best.label}: {result(definition, best)}, with {values}."


def _table(definition: Definition, trials: list[Trial]) -> tuple[list[str], list[list[object]]]:
    """Gives headings and rows: the finished trials by rank, then the others."""
    order = ranked(trials, definition.metric)
    others = [trial for trial in trials if trial not in order]
    shorts = short_names([parameter.name for parameter in definition.searched])
    several = len(definition.fits) > 1
    head = ["rank", "trial", "state", definition.metric.name, *(["±"] if several else [])]
    rows: list[list[object]] = []
    for rank, trial in enumerate([*order, *others], start=1):
        row: list[object] = [rank if rank <= len(order) else None, trial.number + 1]
        row += [_state(trial, several), None if trial.value is None else f"{trial.value:.6g}"]
        row += [spread(trial)] if several else []
        row += [value_text(p, trial.values.get(p.name, "")) for p in definition.searched]
        rows.append([*row, f"{trial.notes.get('seconds', 0.0):.0f}"])
    return [*head, *shorts.values(), "seconds"], rows


def _state(trial: Trial, several: bool) -> str:
    if trial.state != PRUNED or not trial.curve:
        return trial.state
    last = max(trial.curve)  # a step, or how many fits are done
    return f"ended early {f'after fit {last}' if several else f'at step {last}'}"


def _of_the_curves(definition: Definition, trials: list[Trial], curves: Mapping[int, Curve]) -> str:
    """Words what the learning curves show, and which are not there."""
    words = "Learning curves of all trials."
    if any(curve.name != definition.metric.name for curve in curves.values()):
        words += (
            f" {definition.metric.name} was measured once in each fit, so that they show"
            f" {TRAINING}; smaller trainer.val_every_steps let it be seen on the way."
        )
    if definition.repeats:
        words += (
            f" A line is the mean over {definition.repeats}, its band reaches from the smallest to"
            " the largest of them; both end where the first of a trial's fits ended."
        )
    lacking = [t.label for t in trials if t.number not in curves and t.state in (FINISHED, PRUNED)]
    if lacking:
        words += f" The runs of {', '.join(lacking)} are not on this machine, or measured nothing."
    return words


def _add_failures(page: Page, trials: list[Trial]) -> None:
    failed = [trial for trial in trials if trial.state == FAILED]
    if failed:
        rows = [(trial.number + 1, trial.notes.get("because", "")) for trial in failed]
        page.table(["trial", "failed because"], rows)


def _add(page: Page, folder: Path, name: str, figure: Any, caption: str) -> None:
    save_png(figure, folder / f"{name}.png")
    page.figure(figure, caption)
