"""What the verbs that put a run together read themselves, beside the settings of the run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from roots.errors import ConfigError, refusing


def own_parser(
    prog: str, *, about: str = "", usage: str = "", end: str = ""
) -> argparse.ArgumentParser:
    """Makes a verb's parser, which leaves alone what it does not know: the run's settings.

    Args:
        prog: The command: `roots plan`.
        about: What it does.
        usage: Its line of usage; empty makes one.
        end: What stands below its arguments.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=usage or None,
        description=about or None,
        epilog=end or None,
        formatter_class=argparse.RawDescriptionHelpFormatter if about else argparse.HelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    parser.error = refusing(prog)  # type: ignore[method-assign,assignment]
    parser.add_argument(
        "-c", "--config", action="append", default=[], metavar="FILE", help="run file; later win"
    )
    return parser


def parse_own(
    parser: argparse.ArgumentParser, args: list[str]
) -> tuple[argparse.Namespace, list[str]]:
    """Parses what is the verb's own; gives the other flags too. `--help` shows its own first."""
    own, flags = parser.parse_known_args(args)
    if any(flag in ("-h", "--help") for flag in flags):
        sys.stdout.write(parser.format_help())
        sys.stdout.write("\nand every setting of trainer, model and data:\n\n")
    return own, flags


def given_word(name: str) -> Callable[[str], str]:
    """Gives what reads a word that is not empty, as a variable of the shell is that was never set.

    Args:
        name: The flag's, without its hyphens.
    """

    def read(text: str) -> str:
        if not text.strip():
            raise ConfigError(
                f"--{name} is given an empty word, as a variable that is not set would be. Give"
                f" what it names, or leave --{name} out."
            )
        return text

    return read


def whole(name: str, of: str, least: int = 1) -> Callable[[str], int]:
    """Gives what reads a whole number.

    Args:
        name: The flag's, without its hyphens.
        of: What is counted.
        least: The smallest that there may be.
    """

    def read(text: str) -> int:
        if not text.isdigit() or int(text) < least:
            raise ConfigError(
                f"--{name} {text} is no number of {of}. Give a whole number from {least} on."
            )
        return int(text)

    return read
