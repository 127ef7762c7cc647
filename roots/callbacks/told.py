"""What a run can do without: when it fails, that is told, and the run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def told_if_it_fails(trainer: Any, what: str, again: str = "") -> Iterator[None]:
    """Says of pictures, or of what is sent, that it failed; the run goes on without them."""
    try:
        yield
    except Exception as error:
        cure = f" Try again: {again}" if again else ""
        trainer.say(f"{what} ({type(error).__name__}: {error}).{cure}")
