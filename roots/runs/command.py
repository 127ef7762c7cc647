"""`roots list` and `roots sync`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from roots.errors import refusing
from roots.records import as_json, duration
from roots.runs.listing import ORDERS, RunSummary, list_runs
from roots.runs.state import STATES
from roots.runs.syncing import sync

LIST = """\
Lists runs: name and number, state, step, best validation metric, age and size.

A run is `running` while a living process holds it, whatever its files say. The others are as their
last fit ended: `finished`, `failed` (with its error), or `interrupted` by a signal, or by whatever
ended its process without a word. `roots fit --resume` goes on with an interrupted one.
"""

SYNC = """\
Sends a run that W&B kept offline, by `wandb sync`: all its fits to one W&B run. It needs a key
(`wandb login`, or WANDB_API_KEY) and gives the exit code of that command.
"""


def main_list(args: list[str]) -> int:
    """Runs `roots list`; gives the exit code."""
    parser = _parser("list", LIST)
    parser.add_argument(
        "dir", nargs="?", default="runs", metavar="DIR", help="where they are (default: runs)"
    )
    parser.add_argument("--name", default="", metavar="PATTERN", help="only these, such as llama*")
    parser.add_argument(
        "--state", default="", metavar="STATE", help=f"only these: {', '.join(STATES)}"
    )
    parser.add_argument(
        "--sort", default="name", metavar="BY", help=f"{', '.join(ORDERS)} (default: name)"
    )
    parser.add_argument("--json", action="store_true", help="print plain values, a list of runs")
    own = parser.parse_args(args)
    skipped: list[Path] = []
    runs = list_runs(own.dir, name=own.name, state=own.state, sort=own.sort, skipped=skipped)
    if own.json:
        print(as_json([run.plain() for run in runs], indent=2))
    else:
        print(as_table(runs, Path(own.dir)) if runs else f"no such run in {own.dir}")
    for folder in skipped:
        sys.stderr.write(f"left out, since you may not read it: {folder}\n")
    return 0


def main_sync(args: list[str]) -> int:
    """Runs `roots sync`; gives the exit code."""
    parser = _parser("sync", SYNC)
    parser.add_argument("run", metavar="RUN", help="the run's directory")
    return sync(parser.parse_args(args).run)


def as_table(runs: Sequence[RunSummary], folder: Path) -> str:
    """Words the runs of a folder for a terminal; below, why those that are not well are not."""
    names = _names(runs, folder)
    head = ("run", "state", "step", "best", "age", "size")
    rows = [head, *map(_cells, names, runs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
    notes = [
        f"{name}: {note}" for name, run in zip(names, runs, strict=True) if (note := _note(run))
    ]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _names(runs: Sequence[RunSummary], folder: Path) -> list[str]:
    """Calls runs by name and number; where two are alike, as trials are, by their paths."""
    names = [f"{run.name}/{run.id}" for run in runs]
    paths = [str(run.path.relative_to(folder)) for run in runs]
    return names if len({*names}) == len(names) else paths


def _cells(name: str, run: RunSummary) -> tuple[str, ...]:
    of = f" of {run.max_steps:,}" if run.max_steps else ""
    best = "" if run.best is None else f"{run.metric} {run.best:.4g} at {run.best_step:,}"
    age, size = duration(run.age_seconds, units=1), in_bytes(run.size_bytes)
    return (name, run.state, f"{run.step:,}{of}", best, age, size)


def _note(run: RunSummary) -> str:
    why = run.why if run.state in ("failed", "running") else ""
    return " ".join(part for part in (why, run.trouble) if part)


def in_bytes(n: int) -> str:
    """Words a size by its largest unit."""
    for size, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n} B"


def _parser(verb: str, about: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"roots {verb}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.error = refusing(parser.prog)  # type: ignore[method-assign,assignment]
    return parser
