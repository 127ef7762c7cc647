"""One corpus of a data module: its shards, made when they are to be, opened when they are read."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from roots.data.windows import TokenSpan
from roots.errors import DataError, UserError
from roots.records import expanded
from roots.shards import Shard, ShardFolder, ShardMaker, Streamed
from roots.stores import address_of, is_url, located
from roots.tokenizer import Tokenizer


class Size(NamedTuple):
    """How much there is of a corpus to train on.

    Args:
        rows: Rows of `seq_len` tokens.
        documents: Documents.
        tokens: Tokens.
    """

    rows: int
    documents: int
    tokens: int


class OpenedCorpus:
    """Opens a folder of shards, and says which of its text is for what.

    Args:
        shards: The folder, its URL in an object store, or what makes or streams it.
        val_fraction: Share of the tokens kept for validation where the corpus has no validation
            split of its own.
    """

    def __init__(self, shards: str | Path | ShardMaker | Streamed, val_fraction: float) -> None:
        self.shards = address_of(shards) if isinstance(shards, Path) else shards
        self.streamed = shards if isinstance(shards, Streamed) else None
        """How the shards are read from an object store; None where they are on this machine."""
        if isinstance(self.shards, str) and is_url(self.shards):
            self.streamed = Streamed(url=expanded(self.shards))
        self.val_fraction = val_fraction

    @property
    def maker(self) -> ShardMaker | None:
        """What makes the shards, where something does."""
        return self.shards if isinstance(self.shards, ShardMaker) else None

    @property
    def path(self) -> Path:
        """The folder of shards."""
        return (
            located(expanded(self.shards)) if isinstance(self.shards, str) else self.shards.folder
        )

    @property
    def is_ready(self) -> bool:
        """Whether the shards are there; those in an object store are not made, so they must be."""
        if self.streamed:
            return True
        return self.maker.is_ready() if self.maker else self.path.exists()

    @cached_property
    def folder(self) -> ShardFolder:
        """The opened shards."""
        return ShardFolder.open(self.streamed or self.path)

    @property
    def files(self) -> list[Path]:
        """Whatever is on this machine of the text that it is made of, and of the shards."""
        found = list(self.path.rglob("*"))
        with suppress(UserError):
            found += self.maker.files() if self.maker else []
        return found

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the shards were encoded with."""
        return Tokenizer.load(self.folder.tokenizer_path)

    @property
    def fingerprint(self) -> str:
        """Changes when a token or the tokenizer changes."""
        return self.folder.fingerprint

    def prepare(self) -> None:
        """Makes the shards where they are to be made, or reads all where that is asked for."""
        if self.maker:
            self.maker.prepare()
        if self.streamed and self.streamed.verify:
            self.folder.verify()

    def span(self, split: str) -> TokenSpan:
        """Finds the tokens of a split.

        Raises:
            DataError: The corpus has no test split.
        """
        if split in self.folder.splits and (split != "train" or "val" in self.folder.splits):
            shard = self.folder.shard(split)
            return TokenSpan(shard, 0, shard.n_tokens, self.folder.fingerprint)
        if split == "test":
            raise DataError(
                f"{self.path} has no test split. Build the corpus with test_fraction above 0, or"
                " use `roots validate`."
            )
        shard = self.folder.shard("train")
        boundary = last_part(shard, self.val_fraction)
        start, stop = (0, boundary) if split == "train" else (boundary, shard.n_tokens)
        return TokenSpan(shard, start, stop, self.folder.fingerprint)

    def size(self, n_rows: int) -> Size:
        """Tells how much there is to train on, in `n_rows` rows."""
        span = self.span("train")
        return Size(n_rows, span.n_documents, len(span))


def last_part(shard: Shard, fraction: float) -> int:
    """Finds where the last `fraction` of a shard starts: at a document, where one is near.

    In a single document of n tokens it is token `int(n * (1 - fraction))`, as nanoGPT divides its
    texts; the eos that closes the document is none of the n.

    Returns:
        A token position: the first start of a document at or behind the cut, or the cut itself
        where no document starts before half of the asked tokens are lost.
    """
    if shard.n_documents == 1 and fraction:
        return int((shard.n_tokens - 1) * (1 - fraction))
    asked = round(shard.n_tokens * fraction)
    cut = shard.n_tokens - asked
    starts = shard.document_ends(cut - 1, shard.n_tokens - 1) + 1
    near = len(starts) and starts[0] - cut <= asked // 2
    return int(starts[0]) if near else cut
