"""Several: sources one after another, each with a name that the books of a corpus keep apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from roots.errors import ConfigError
from roots.records import Document, Reject
from roots.sources.source import Source


class Several(Source):
    """Reads several sources in the order of their names.

    Args:
        sources: The sources by name: `web`, `books`, …; the manifest counts by these names.

    Raises:
        ConfigError: There is none.
    """

    def __init__(self, *, sources: dict[str, Source]) -> None:
        if not sources:
            raise ConfigError(
                "sources is empty, so there is nothing to read. Give at least one source by name:"
                " sources: {web: {class_path: roots.sources.Jsonl, init_args: {paths: …}}}."
            )
        self.sources = sources

    def files(self) -> list[Path]:
        """Lists the files of all sources, in the order in which they are read."""
        return [path for _, source in self._in_order() for path in source.files()]

    def documents(self) -> Iterator[Document]:
        """Streams the documents of one source after another, each with its name."""
        return (record for record in self.records() if isinstance(record, Document))

    def records(self) -> Iterator[Document | Reject]:
        """Streams the documents and what could not become one."""
        self.n_replaced = 0
        for name, source in self._in_order():
            n_before = self.n_replaced
            for record in source.records():
                self.n_replaced = n_before + source.n_replaced
                yield replace(record, source=name)

    def _in_order(self) -> list[tuple[str, Source]]:
        return sorted(self.sources.items())
