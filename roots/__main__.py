"""`python -m roots` and `roots`: our own errors in a few lines, everything else with its trace."""

from __future__ import annotations

import io
import os
import select
import sys
import textwrap

from roots.allocation import start_anew
from roots.errors import RootsError

_NOBODY_READS = 141
"""What a shell reports of a program whose output was closed (SIGPIPE)."""


def main() -> None:
    """Runs the command line and exits with its code."""
    write_any_letter()
    start_anew(sys.argv[1:])
    find_classes_here()
    try:
        try:
            code = _run()
        finally:
            sys.stdout.flush()  # here, where it is known what to do when nobody reads it
    except BrokenPipeError:
        if not _output_is_closed():
            raise
        # Python flushes once more when it ends: give it somewhere to write
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = _NOBODY_READS
    sys.exit(code)


def _run() -> int:
    from roots.cli import run

    try:
        return run(sys.argv[1:])
    except RootsError as error:
        sys.stdout.flush()
        if error.is_told:
            text = textwrap.fill(
                str(error), width=100, break_long_words=False, break_on_hyphens=False
            )
            sys.stderr.write(f"roots: {text}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def write_any_letter() -> None:
    r"""Writes as `\u2026` what the terminal, or who reads the pipe, has no letter for.

    The output would fail there (latin-1, ascii); the standard error does as much by itself.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def find_classes_here() -> None:
    """Lets a run name a class of a file in the present folder, as under `python -m roots`.

    The command `roots` would look beside itself instead. What is installed comes first, so that no
    file that lies here takes its place. Ranks come here themselves, and workers inherit it.
    """
    here = os.getcwd()  # noqa: PTH109 (as a string, as the path has it)
    if not sys.flags.safe_path and not {here, ""} & {*sys.path}:
        sys.path.append(here)


def _output_is_closed() -> bool:
    """Tells whether the standard output is a pipe that nobody reads (`| head`), and not another."""
    if not hasattr(select, "poll"):  # Windows, which has no such signal
        return False
    asked = select.poll()
    try:
        asked.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # it is no file
        return False
    return bool(asked.poll(0))


if __name__ == "__main__":
    main()
