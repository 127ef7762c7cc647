"""Losses and corruptions as pure functions of tensors: a sum and a count, never a mean.

Shape letters: B sequences, T tokens, V vocabulary, D model width, N = B·T positions.
"""

from roots.objectives.corruption import Corrupted, Key, corrupt
from roots.objectives.masked_token import MaskedToken, flat_places, row_places
from roots.objectives.masker import Masker
from roots.objectives.masking import Masking
from roots.objectives.next_token import NextToken, next_token_nats

__all__ = [
    "Corrupted",
    "Key",
    "MaskedToken",
    "Masker",
    "Masking",
    "NextToken",
    "corrupt",
    "flat_places",
    "next_token_nats",
    "row_places",
]
