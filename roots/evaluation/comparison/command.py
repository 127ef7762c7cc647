"""`roots compare`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from roots.evaluation.comparison.comparing import Comparison, compare
from roots.evaluation.comparison.page import in_words, write
from roots.inference.arguments import Parser
from roots.records import as_json
from roots.runs import check_place, redact_values

ABOUT = """\
Compares runs: settings that differ, final and best of the validation metric, tokens per second, and
the curves over steps, tokens and time of training.

Runs that differ only by seed are one group; of it stand mean and standard deviation, over its
finished runs with different seeds. Later groups are held to the first by Welch's t test, with a
confidence interval and the number of runs; a group of one run has no spread, and no test is made.
Groups of other objectives or other data are marked as not comparable, with the reason, and are left
out of tests and curves. It writes comparison.html, .png and .json.
"""


def main(args: list[str]) -> int:
    """Runs `roots compare`; gives the exit code."""
    parser = Parser(
        prog="roots compare",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run, a folder of runs, a name, or a pattern"
    )
    parser.add_argument(
        "--metric", default="", metavar="NAME", help="what to compare (default: trainer.monitor)"
    )
    parser.add_argument(
        "--out", metavar="DIR", help="where to write (default: `comparison`, above the runs)"
    )
    parser.add_argument("--json", action="store_true", help="print plain values")
    own = parser.parse_args(args)
    if own.out:
        check_place(Path(own.out), "--out", is_folder=True)
    comparison = compare(own.runs, metric=own.metric)
    to = Path(own.out or above(comparison) / "comparison")
    check_place(to, "--out", is_folder=True)
    files = write(comparison, to)
    if own.json:
        print(as_json(redact_values(comparison.plain()), indent=2))
    else:
        print(in_words(comparison))
        print(f"\npage: {os.path.relpath(files[0])}   figure: {os.path.relpath(files[1])}")
    return 0


def above(comparison: Comparison) -> Path:
    """Gives the folder that holds all compared runs."""
    parents = [str(r.run.path.resolve().parent) for g in comparison.groups for r in g.runs]
    return Path(os.path.commonpath(parents))
