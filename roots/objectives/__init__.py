"""Losses and corruptions as pure functions of tensors: a sum and a count, never a mean.

Shape letters: B sequences, T tokens, V vocabulary, D model width, C classes, N = B·T positions.
"""

from roots.objectives.corruption import Corrupted, Key, corrupt
from roots.objectives.geometry import unlikeness
from roots.objectives.labels import Classes, ManyClasses, Spans, Values, balanced
from roots.objectives.masked_token import MaskedToken, flat_places, row_places
from roots.objectives.masker import Masker
from roots.objectives.masking import Masking
from roots.objectives.next_token import NextToken, next_token_nats
from roots.objectives.preference import AnswerSums, Preference
from roots.objectives.teaching import Listener, Teaching

__all__ = [
    "AnswerSums",
    "Classes",
    "Corrupted",
    "Key",
    "Listener",
    "ManyClasses",
    "MaskedToken",
    "Masker",
    "Masking",
    "NextToken",
    "Preference",
    "Spans",
    "Teaching",
    "Values",
    "balanced",
    "corrupt",
    "flat_places",
    "next_token_nats",
    "row_places",
    "unlikeness",
]
