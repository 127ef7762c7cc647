"""Tells transformers whether a row is one sequence or several, which it would else find out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
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
    with _found_by(_none_packed):
        yield


@contextmanager
def rows_are_packed() -> Iterator[None]:
    """Takes it that rows hold several sequences: where positions begin anew, a sequence does.

    It is what transformers does as well, after it has made the host wait to see whether it must.
    """
    with _found_by(_number_of_sequence):
        yield


@contextmanager
def _found_by(finder: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    before = getattr(masking_utils, _FINDER, None)
    setattr(masking_utils, _FINDER, finder)
    try:
        yield
    finally:
        setattr(masking_utils, _FINDER, before)


def _none_packed(position_ids: Tensor) -> None:
    """Finds none."""


def _number_of_sequence(position_ids: Tensor) -> Tensor:
    """Gives each position (B T) the number of its sequence."""
    steps = torch.diff(position_ids, prepend=position_ids[:, :1] - 1, dim=-1)
    return (steps != 1).cumsum(-1)
