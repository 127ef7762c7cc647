"""`roots report`: draws what a run's directory tells as one page; torch is not needed for it."""

from __future__ import annotations

from roots.evaluation.run_page import report_run
from roots.inference.arguments import Parser
from roots.runs import open_run


def main(args: list[str]) -> int:
    """Runs the verb; gives the exit code.

    Raises:
        CheckpointError: There is no such run.
        ConfigError: An argument is wrong.
    """
    given = _parser().parse_args(args)
    runs = [open_run(path) for path in given.run]
    for run in runs:
        print(f"wrote {report_run(run)}")
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="roots report",
        description="Writes report.html and its figures (PNG) into a run's directory: curves,"
        " numbers, classes, samples, data, environment, configuration. A run that is still"
        " training can be drawn too.",
        epilog="example: roots report runs/quickstart/0001",
        allow_abbrev=False,
    )
    parser.add_argument("run", nargs="+", metavar="RUN", help="a run's directory, or several")
    return parser
