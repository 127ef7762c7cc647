"""The exception tree: what a caller may catch, and what ends a command with which exit code.

RootsError
├── UserError            exit code 2: something the user wrote or gave, told with its cure
│   ├── ConfigError      a setting, or two settings that do not fit together
│   ├── DataError        a text, a shard or a folder that cannot be read as what it should be
│   ├── CheckpointError  a run or checkpoint that is missing, damaged or of another shape
│   └── MissingExtra     an optional package that is not installed
└── TrainingError        exit code 1: the run itself went wrong (a loss that is not finite)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import NoReturn


class RootsError(Exception):
    """Base of every error that roots raises on purpose; its text says what, why and the fix."""

    exit_code = 1
    is_told = True
    """Whether the command line says it; of ranks that all stop alike only the first does."""

    def _render_traceback_(self) -> list[str]:
        """Gives what IPython shows in place of a traceback: what the command line would say."""
        return [f"{type(self).__name__}: {self}"]


class UserError(RootsError):
    """A mistake in what the user wrote or gave. The command line prints it in one paragraph."""

    exit_code = 2


class ConfigError(UserError):
    """A setting is impossible, or two settings contradict each other."""


class DataError(UserError):
    """An input (text, shard, folder) is missing, damaged or not what it claims to be."""


class CheckpointError(UserError):
    """A run directory or checkpoint is missing, damaged, or has another shape than the run."""


class MissingExtra(UserError):
    """An optional package is needed and not installed."""


class TrainingError(RootsError):
    """The training went wrong although its configuration was valid."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Words a suggestion: ` (did you mean 'llama'?)`, or nothing when no known word is near."""
    close = get_close_matches(word, sorted(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def first_line(error: BaseException) -> str:
    """Gives the first line of an error's text, as a sentence."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line if line.endswith(".") else f"{line}."


def refusing(prog: str) -> Callable[[str], NoReturn]:
    """Gives what a parser of argparse does with a mistake: ConfigError, with the help to read.

    Args:
        prog: The command whose help tells its arguments: `roots fit`.
    """

    def refuse(message: str) -> NoReturn:
        raise ConfigError(f"{message[:1].upper()}{message[1:]}. See `{prog} --help`.")

    return refuse
