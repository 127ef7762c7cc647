"""How many rows go through the vocabulary projection at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

ROWS_ON_CPU = 512
"""Rows of a chunk: 512 rows of 8,192 bfloat16 logits are 8 MiB, which stay in the cache."""

ROWS_ON_ACCELERATOR = 4096
"""Rows of a chunk where a small product would leave most of the device idle."""


_planned_kind: ContextVar[str] = ContextVar("planned_kind", default="")


@contextmanager
def rows_for(kind: str) -> Iterator[None]:
    """Takes chunks as on another kind of device while the block runs, for who only plans.

    Args:
        kind: `cpu`, `cuda`, ….
    """
    token = _planned_kind.set(kind)
    try:
        yield
    finally:
        _planned_kind.reset(token)


def rows_of(device: torch.device) -> int:
    """Gives how many rows of a chunk suit a device."""
    kind = _planned_kind.get() or device.type
    return ROWS_ON_CPU if kind == "cpu" else ROWS_ON_ACCELERATOR
