"""What the first rank does for all, so that all learn of it when it fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def by_first_rank(trainer: Any, work: Callable[[], Any]) -> Any:
    """Lets the first rank do something, and gives all what came of it; all ranks come here.

    Raises:
        Exception: What the first rank raised, on all of them: alone, it would leave the others
            waiting for it.
    """
    found, error = None, None
    if trainer.is_global_zero:
        try:
            found = work()
        except Exception as raised:
            error = raised
    found, error = trainer.strategy.broadcast((found, error))
    if error is not None:
        raise error
    return found
