"""Names of places that a configuration may leave to the machine."""

from __future__ import annotations

import os
import re

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
