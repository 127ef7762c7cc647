"""TokenizerPlan: where a tokenizer comes from; all that `roots.data` knows of training one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from roots.records import plain
from roots.tokenizer.tokenizer import Tokenizer


class TokenizerPlan(ABC):
    """Trains or takes a tokenizer."""

    needs_texts: bool = True
    """Whether `make` reads the texts that it is given."""

    @abstractmethod
    def make(self, texts: Iterable[str]) -> Tokenizer:
        """Makes the tokenizer.

        Args:
            texts: Texts to train on, streamed: parts of the documents of a corpus's train split, or
                the texts of the training rows.
        """

    @abstractmethod
    def planned_vocab_size(self) -> int:
        """Tells the vocabulary size before the tokenizer is made; training may give fewer."""

    def recipe(self) -> dict[str, Any]:
        """Writes down what decides which tokenizer comes out."""
        recipe: dict[str, Any] = plain(self)
        return recipe
