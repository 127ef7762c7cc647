"""`roots report` and `roots corpus`: runs and corpora as pages; torch is not needed for them."""

from __future__ import annotations

from pathlib import Path

from roots.corpus.command import main as make_corpus
from roots.errors import ConfigError
from roots.evaluation.corpus_page import PAGE, report_corpus
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
    if given.out and len(runs) > 1:
        raise ConfigError(f"--out takes the page of one run, and {len(runs)} are given. Give one.")
    for run in runs:
        print(f"wrote {report_run(run, Path(given.out) if given.out else None)}")
    return 0


def corpus(args: list[str]) -> int:
    """Makes a corpus and draws its data card, or draws that of a folder; gives the exit code.

    Raises:
        ConfigError: An argument is wrong.
        DataError: The text, or the folder, cannot be read.
    """
    if args[:1] != ["report"]:
        return make_corpus(args, then=_drawn)
    for folder in _corpus_parser().parse_args(args[1:]).folder:
        print(f"wrote {report_corpus(folder)}")
    return 0


def _drawn(folder: Path) -> str:
    """Draws a folder that was made or found ready; says where, or why not."""
    if (folder / PAGE).is_file():
        return f"data card: {folder / PAGE}"
    try:
        return f"data card: {report_corpus(folder)}"
    except Exception as error:  # the corpus is whole without it
        return f"the data card was not drawn ({type(error).__name__}: {error})"


def _corpus_parser() -> Parser:
    parser = Parser(
        prog="roots corpus report",
        description="Writes report.html into a folder of shards: sources, what each stage kept and"
        " dropped, with examples; lengths, languages, duplicates, personal data, tokens.",
        epilog="example: roots corpus report corpora/stdlib",
        allow_abbrev=False,
    )
    parser.add_argument("folder", nargs="+", metavar="FOLDER", help="a folder of shards")
    return parser


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
    parser.add_argument(
        "--out", metavar="DIR", help="where to write the page of one run (default: its directory)"
    )
    return parser
