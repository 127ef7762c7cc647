"""NotedWriter: a ShardWriter of a build, which goes on where a killed one was."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from roots.corpus.journal import PART, TOKENS, Journal
from roots.shards import FileRecord, ShardWriter


class NotedWriter(ShardWriter):
    """Writes one split. What is unfinished lies with the journal, and stays there after an error.

    Args:
        split: The name of the split.
        vocab_size: Ids are below it.
        journal: Knows how far a killed build came.
    """

    def __init__(self, split: str, *, vocab_size: int, journal: Journal) -> None:
        super().__init__(journal.folder / split, vocab_size=vocab_size)
        self.journal = journal
        self._parts = {
            kind: journal.work / f"{split}.{kind}{PART}" for kind in ("bin", "idx", "lengths")
        }

    def __enter__(self) -> Self:
        self._bin = self.journal.file(self._parts["bin"], TOKENS)
        self._lengths = self.journal.file(self._parts["lengths"], TOKENS)
        before = (self.journal.found(TOKENS) or {"splits": {}})["splits"].get(self.prefix.name)
        if before is not None:
            self.n_documents, self.n_tokens, self._length = before
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._bin.close()
            self._lengths.close()

    def state(self) -> Any:
        """Tells how far it is: documents, tokens of these, tokens of the one that is not ended."""
        return [self.n_documents, self.n_tokens, self._length]

    def records(self) -> list[FileRecord]:
        """Tells what its files hold so far."""
        return [self.journal.record(file) for file in (self._bin, self._lengths)]
