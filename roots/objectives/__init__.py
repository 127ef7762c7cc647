"""Losses and corruptions as pure functions of tensors: a sum and a count, never a mean.

Shape letters: B sequences, T tokens, V vocabulary, D model width, C classes, N = B·T positions.
"""

from roots.objectives.labels import Classes, ManyClasses, Spans, Values, balanced
from roots.objectives.next_token import NextToken, next_token_nats

__all__ = [
    "Classes",
    "ManyClasses",
    "NextToken",
    "Spans",
    "Values",
    "balanced",
    "next_token_nats",
]
