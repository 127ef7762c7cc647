"""Names of places: those that a configuration leaves to the machine, and what is there."""

from __future__ import annotations

import os
import re
from pathlib import Path

from roots.errors import ConfigError

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def expanded(name: str) -> str:
    """Puts the values of `${VARIABLE}` and `~` into a path.

    Raises:
        ConfigError: A variable is not set.
    """
    name = os.path.expandvars(name)
    if unset := _VARIABLE.search(name):
        raise ConfigError(
            f"The path {name} needs the variable {unset[1]}, which is not set. Set it to a folder"
            f" (export {unset[1]}=…), or write the path out."
        )
    return os.path.expanduser(name)  # noqa: PTH111 (a path object would lose a leading './')


def is_folder(path: Path) -> bool:
    """Tells whether there is a folder; a path too long for one is none, and raises nothing."""
    return os.path.isdir(path)  # noqa: PTH112 (a path object would raise)


def is_file(path: Path) -> bool:
    """Tells whether there is a file; a path too long for one is none, and raises nothing."""
    return os.path.isfile(path)  # noqa: PTH113 (a path object would raise)
