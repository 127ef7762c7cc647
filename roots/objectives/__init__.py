"""Losses and corruptions as pure functions of tensors: a sum and a count, never a mean.

Shape letters: B sequences, T tokens, V vocabulary, D model width, N = B·T positions.
"""

from roots.objectives.corruption import Corrupted, Key, corrupt
from roots.objectives.masker import Masker
from roots.objectives.masking import Masking
from roots.objectives.next_token import NextToken, next_token_nats

__all__ = ["Corrupted", "Key", "Masker", "Masking", "NextToken", "corrupt", "next_token_nats"]
