"""How many rows a forward pass has: a number, or `auto`."""

from __future__ import annotations

from roots.errors import ConfigError

AUTO = "auto"
USUAL_ROWS = 8
"""Rows where nobody has found out how many fit: in a validation that no training came before."""


def micro_batch_rows(size: int | str) -> int:
    """Gives the number of rows; 0 for `auto`.

    Raises:
        ConfigError: It is neither.
    """
    if size == AUTO:
        return 0
    if isinstance(size, str) or size < 1:
        raise ConfigError(
            f"micro_batch_size={size} is no number of rows."
            " Set model.micro_batch_size to 1 or more, or to auto."
        )
    return size
