"""The books of a pipeline: what came into each part, what went on, what was dropped and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from roots.records import Document, Drop, Edit, Verdict

READ = "Read"
"""The name of the first row: the source itself, which gives documents and blank ones."""
EMPTY = Drop("empty")


@dataclass
class Row:
    """One part and one source; `documents_in` is `documents_kept` and all of `dropped`.

    Args:
        documents_in: How many came in.
        documents_kept: How many went on, edited ones included.
        documents_edited: How many of these went on with another text.
        characters_in: Of the texts that came in.
        characters_kept: Of the texts that went on.
        dropped: Documents by reason.
        counted: What a part counted beside that, such as places that it changed, by kind.
    """

    documents_in: int = 0
    documents_kept: int = 0
    documents_edited: int = 0
    characters_in: int = 0
    characters_kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)

    def enter(self, document: Document, verdict: Verdict) -> None:
        """Enters one document and what was decided about it."""
        self.documents_in += 1
        self.characters_in += len(document.text)
        if isinstance(verdict, Drop):
            self.dropped[verdict.reason] += 1
            return
        after = verdict.document if isinstance(verdict, Edit) else document
        self.documents_kept += 1
        self.documents_edited += after.text != document.text
        self.characters_kept += len(after.text)
        if verdict.counts:
            self.counted.update(verdict.counts)

    def add(self, other: Row) -> None:
        """Adds the counts of another row."""
        self.documents_in += other.documents_in
        self.documents_kept += other.documents_kept
        self.documents_edited += other.documents_edited
        self.characters_in += other.characters_in
        self.characters_kept += other.characters_kept
        self.dropped.update(other.dropped)
        self.counted.update(other.counted)


class Books:
    """A row per part and source.

    Args:
        names: The names of the parts, in order; they may repeat.
        source: The name of the source for documents that carry none.
    """

    def __init__(self, names: Sequence[str], source: str = "") -> None:
        self.names = tuple(names)
        self.source = source
        self._rows: dict[tuple[int, str], Row] = {}

    def enter(self, part: int, document: Document, verdict: Verdict) -> None:
        """Enters what a part decided about a document."""
        self._row(part, document.source).enter(document, verdict)

    def add(self, other: Books, first: int = 0) -> None:
        """Adds the books of the parts from `first` on."""
        for (part, source), row in other._rows.items():
            self._row(first + part, source).add(row)

    def only(self, parts: Container[int]) -> Books:
        """Gives the books of some parts; the others have no rows."""
        books = Books(self.names, self.source)
        books._rows = {key: row for key, row in self._rows.items() if key[0] in parts}
        return books

    def of(self, part: int, source: str | None = None) -> Row:
        """Sums the rows of a part, of one source or of all."""
        total = Row()
        for (index, name), row in self._rows.items():
            if index == part and source in (None, name):
                total.add(row)
        return total

    @property
    def documents_in(self) -> int:
        """How many came into the first part."""
        return self.of(0).documents_in

    @property
    def documents_kept(self) -> int:
        """How many went out of the last part."""
        return self.of(len(self.names) - 1).documents_kept

    @property
    def dropped(self) -> Counter[str]:
        """All dropped documents by reason."""
        total: Counter[str] = Counter()
        for row in self._rows.values():
            total.update(row.dropped)
        return total

    def plain(self) -> list[dict[str, Any]]:
        """Writes them down for a manifest: a list of parts, each with its sources by name."""
        return [
            {"name": name, "sources": dict(self._plain_rows(part))}
            for part, name in enumerate(self.names)
        ]

    @classmethod
    def from_plain(cls, written: Sequence[Mapping[str, Any]], source: str = "") -> Books:
        """Reads what `plain` wrote."""
        books = cls([part["name"] for part in written], source)
        for index, part in enumerate(written):
            for name, counts in part["sources"].items():
                books._rows[index, name] = _row(counts)
        return books

    def __str__(self) -> str:
        from roots.corpus.books_table import table

        return table(self)

    @property
    def sources(self) -> list[str]:
        """The names of the sources."""
        return sorted({source for _, source in self._rows})

    def _row(self, part: int, source: str) -> Row:
        return self._rows.setdefault((part, source or self.source), Row())

    def _plain_rows(self, part: int) -> Iterator[tuple[str, dict[str, Any]]]:
        for (index, source), row in sorted(self._rows.items()):
            if index == part:
                yield source, {name: _plain(value) for name, value in vars(row).items()}


def _plain(value: int | Counter[str]) -> int | dict[str, int]:
    return dict(sorted(value.items())) if isinstance(value, Counter) else value


def _row(counts: Mapping[str, Any]) -> Row:
    values: dict[str, Any] = {
        k: Counter(v) if isinstance(v, Mapping) else v for k, v in counts.items()
    }
    return Row(**values)
