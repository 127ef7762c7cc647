"""`python -m roots` and `roots`: our own errors in a few lines, everything else with its trace."""

from __future__ import annotations

import sys
import textwrap

from roots.allocation import start_anew
from roots.errors import RootsError


def main() -> None:
    """Runs the command line and exits with its code."""
    start_anew(sys.argv[1:])
    from roots.cli import run

    try:
        code = run(sys.argv[1:])
    except RootsError as error:
        sys.stdout.flush()
        text = textwrap.fill(str(error), width=100, break_long_words=False, break_on_hyphens=False)
        sys.stderr.write(f"roots: {text}\n")
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
