"""The corpora of a data module, one or several of the same tokenizer, as one."""

from __future__ import annotations

import hashlib
from pathlib import Path

from roots.data.mixture import Mixture, check_same_tokenizer
from roots.data.opened_corpus import OpenedCorpus
from roots.records import Vocabulary
from roots.shards import ShardMaker, Streamed
from roots.tokenizer import Tokenizer


class Corpora:
    """Opens one corpus, or those of a mixture.

    Args:
        shards: A folder of shards, what makes or streams one, or a mixture of them.
        val_fraction: Share of the tokens kept for validation where a corpus has no validation
            split of its own.
    """

    def __init__(
        self, shards: str | Path | ShardMaker | Streamed | Mixture, val_fraction: float
    ) -> None:
        named = shards.corpora if isinstance(shards, Mixture) else {"": shards}
        self._in_turn = {name: OpenedCorpus(each, val_fraction) for name, each in named.items()}
        self.opened = dict(sorted(self._in_turn.items()))
        """By name, in its order: in which they are given does not change a run."""
        self.first = next(iter(self._in_turn.values()))
        self._tokenizer: Tokenizer | None = None

    @property
    def path(self) -> Path:
        """The folder, or the folders with commas between them."""
        if len(self._in_turn) == 1:
            return self.first.path
        return Path(", ".join(str(corpus.path) for corpus in self._in_turn.values()))

    @property
    def streamed(self) -> list[Streamed]:
        """How those that lie in object stores are read."""
        return [corpus.streamed for corpus in self._in_turn.values() if corpus.streamed]

    @property
    def is_ready(self) -> bool:
        """Whether all shards are there."""
        return all(corpus.is_ready for corpus in self._in_turn.values())

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the shards were encoded with.

        Raises:
            ConfigError: They were encoded with different ones.
        """
        if self._tokenizer is None:
            check_same_tokenizer(self._in_turn)
            self._tokenizer = self.first.tokenizer
        return self._tokenizer

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens that occur; for shards that are not there yet, as they are planned."""
        if self.first.maker and not self.first.is_ready:
            size = self.first.maker.planned_vocab_size()
            return Vocabulary(size=size, eos_id=0, bos_id=0, pad_id=0)
        tokenizer = self.tokenizer if self.is_ready else self.first.tokenizer
        return tokenizer.vocabulary

    @property
    def fingerprint(self) -> str:
        """Changes when a token or the tokenizer changes."""
        if list(self.opened) == [""]:
            return self.first.fingerprint
        lines = [f"{name} {corpus.fingerprint}" for name, corpus in self.opened.items()]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def prepare(self) -> None:
        """Makes what is to be made, in turn: a later corpus may need the tokenizer of the first."""
        for corpus in self._in_turn.values():
            corpus.prepare()

    def to_be_made(self) -> str:
        """Says of the first corpus that is not there yet what will be read and written."""
        makers = (corpus.maker for corpus in self._in_turn.values())
        return next((maker.describe() for maker in makers if maker and not maker.is_ready()), "")

    def has(self, split: str) -> bool:
        """Whether any was built with such a split."""
        return any(split in corpus.folder.splits for corpus in self.opened.values())

    def with_split(self, split: str) -> dict[str, OpenedCorpus]:
        """Gives those that have text for a split, by name: all of them where none has.

        Which has no validation split of its own is divided; a test split is made with the corpus.
        """
        if split != "test" or not self.has(split):
            return self.opened
        return {n: each for n, each in self.opened.items() if split in each.folder.splits}
