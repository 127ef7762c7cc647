"""Existing: a tokenizer that is already there."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from roots.records import class_path
from roots.runs import network_folder
from roots.tokenizer import Tokenizer, TokenizerPlan


class Existing(TokenizerPlan):
    """Takes a tokenizer from a folder, as a Hugging Face model has one.

    Args:
        path: A folder with `tokenizer.json`, or a run's directory: the tokenizer of its network.
            `~` and `${VARIABLE}` are expanded.
    """

    needs_texts = False

    def __init__(self, *, path: str) -> None:
        self.path = path

    def make(self, texts: Iterable[str]) -> Tokenizer:
        """Opens the tokenizer; the texts are not read."""
        del texts
        return self._tokenizer

    def planned_vocab_size(self) -> int:
        """Tells the size of the vocabulary, added tokens included."""
        return self._tokenizer.vocab_size

    def recipe(self) -> dict[str, Any]:
        """Writes down the tokenizer's fingerprint and eos: where it lies does not matter."""
        decides = {"fingerprint": self._tokenizer.fingerprint, "eos_id": self._tokenizer.eos_id}
        return {"class_path": class_path(type(self)), "init_args": decides}

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return Tokenizer.load(network_folder(self.path))
