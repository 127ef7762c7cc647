"""Which tokenizer labelled rows are encoded with: the one that is named, or that of the network."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from roots.errors import ConfigError
from roots.records import Vocabulary
from roots.runs import network_folder
from roots.tokenizer import Tokenizer, fetch_tokenizer


class TaskTokenizer:
    """Knows the tokenizer of rows; a data module of rows is one, and has the path as argument."""

    tokenizer_path: str
    _of_network: tuple[str, str] = ("", "main")

    def take_tokenizer_of(self, builder: Any) -> None:
        """Takes the tokenizer of a network that has one, where none is named."""
        self._of_network = getattr(builder, "path", ""), getattr(builder, "revision", "main")

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the rows are encoded with."""
        return self.read_tokenizer()

    def read_tokenizer(self) -> Tokenizer:
        """Opens the tokenizer that is named, or that of the network."""
        path, revision = (self.tokenizer_path, "main") if self.tokenizer_path else self._of_network
        if not path:
            raise ConfigError(
                "There is no tokenizer for the texts: the network is made from scratch and brings"
                " none. Set data.tokenizer to a folder that holds tokenizer.json."
            )
        return fetch_tokenizer(network_folder(path), revision)

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens of the tokenizer."""
        return self.tokenizer.vocabulary
