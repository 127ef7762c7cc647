"""Tells transformers that every row is one sequence, which it would find out again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor
from transformers import masking_utils

_FINDER = "find_packed_sequence_indices"


@contextmanager
def rows_are_unpacked() -> Iterator[None]:
    """Makes no search for several sequences in a row while the block runs.

    Without an attention mask, transformers looks whether the positions in a row begin anew
    somewhere. Positions that it has counted itself never do, but to see that, the host waits for
    the device in each forward pass; and where it is compiled and cannot look, it builds a mask for
    the case, and attention loses its causal kernel.
    """
    found = getattr(masking_utils, _FINDER, None)
    setattr(masking_utils, _FINDER, _none_packed)
    try:
        yield
    finally:
        setattr(masking_utils, _FINDER, found)


def _none_packed(position_ids: Tensor) -> None:
    """Finds none."""
