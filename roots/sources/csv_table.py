"""Csv: a table with a header line, plain or compressed; a bad row costs no other."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from roots.errors import ConfigError, DataError
from roots.records import Document, Reject
from roots.sources.decoding import MAX_DOCUMENT_BYTES
from roots.sources.finding import find_files
from roots.sources.opening import COMPRESSED, numbered_lines
from roots.sources.record_source import OnBadRecord, RecordSource


class Csv(RecordSource):
    r"""Reads `.csv` and `.tsv`, or either compressed (`.gz`, `.zst`); the first row names columns.

    Fields may be quoted and then hold newlines (RFC 4180). Where a quote never closes, the row in
    which it opens is the bad one, and reading goes on with the line after its first.

    Args:
        paths: Files, globs, or folders (searched for the endings above), here or as URLs of object
            stores (`s3://…`); `~` and `${VARIABLE}` are expanded.
        text_field: The column that holds the text.
        id_field: The column that names the row; empty for `path:line`.
        metadata_fields: Columns kept beside the text, where there are any: `license` and `url` are
            counted in the corpus's card, and stages see them.
        delimiter: What stands between fields; `auto` is a tab for `.tsv` and a comma else.
        on_bad_record: `error` ends the pass and names file, line and cause; `skip` counts the row,
            writes it to `rejects.jsonl` beside the shards, and goes on.
        max_bad_fraction: With `skip`: the greatest fraction of bad rows, above 0 and to 1.

    Raises:
        ConfigError: `skip` without a fraction, a fraction without `skip`, or a long delimiter.
    """

    def __init__(
        self,
        *,
        paths: str | list[str],
        text_field: str = "text",
        id_field: str = "",
        metadata_fields: Sequence[str] = (),
        delimiter: str = "auto",
        on_bad_record: OnBadRecord = "error",
        max_bad_fraction: float = 0.0,
    ) -> None:
        super().__init__(on_bad_record=on_bad_record, max_bad_fraction=max_bad_fraction)
        if delimiter != "auto" and (len(delimiter) != 1 or delimiter in '"\r\n'):
            raise ConfigError(
                f"delimiter={delimiter!r} must be one character, no quote and no line end. Write"
                " ';' or '|', or leave it out for a comma (.csv) or a tab (.tsv)."
            )
        self.paths = paths
        self.text_field = text_field
        self.id_field = id_field
        self.metadata_fields = list(metadata_fields)
        self.delimiter = delimiter

    def files(self) -> list[Path]:
        """Lists the tables that `paths` names."""
        kinds = [f"{kind}{packed}" for kind in (".csv", ".tsv") for packed in COMPRESSED]
        return find_files(self.paths, kinds)

    def read(self) -> Iterator[Document | Reject]:
        """Streams one record per row; rows without anything in them are passed over."""
        self.n_replaced = 0
        csv.field_size_limit(max(csv.field_size_limit(), MAX_DOCUMENT_BYTES))
        for path in self.files():
            columns: _Columns | None = None
            for row in self._rows(path):
                if isinstance(row, Reject):
                    if columns is None:  # the next row would be taken for it
                        raise DataError(f"{row.cause} It should be the row of the columns' names.")
                    yield row
                elif columns is None:
                    columns = _Columns.of(row, path, self)
                else:
                    yield columns.record(row, path)

    def _rows(self, path: Path) -> Iterator[_Row | Reject]:
        delimiter = self.delimiter
        if delimiter == "auto":
            delimiter = "\t" if ".tsv" in path.name.lower() else ","
        feed = _Feed(self._lines(path))
        while True:
            try:
                fields = next(csv.reader(feed, delimiter=delimiter, strict=True), None)
            except csv.Error as error:
                number, line = feed.give_back_all_but_first()
                yield _broken(path, number, line, error)
                continue
            rejects, within, taken = feed.take()
            yield from rejects
            if fields is None:
                return
            raw = "".join(line for _, line in taken)
            if within:
                yield _with_a_hole(path, taken[0][0], raw, within[0])
            elif fields:
                yield _Row(taken[0][0], fields, raw)

    def _lines(self, path: Path) -> Iterator[tuple[int, str] | Reject]:
        for number, offset, raw in numbered_lines(path):
            line = self._decoded(raw, path, number, offset)
            yield line if isinstance(line, Reject) else (number, line)


@dataclass(frozen=True)
class _Row:
    number: int
    fields: list[str]
    raw: str


@dataclass
class _Feed:
    """Hands lines to a csv reader, and takes them back when they were no row.

    Args:
        lines: Numbered lines, and those that are no text.
    """

    lines: Iterator[tuple[int, str] | Reject]
    _waiting: deque[tuple[int, str]] = field(default_factory=deque)
    _taken: list[tuple[int, str]] = field(default_factory=list)
    _rejects: list[Reject] = field(default_factory=list)
    _within: list[Reject] = field(default_factory=list)
    _n_characters: int = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._n_characters > MAX_DOCUMENT_BYTES:
            raise csv.Error(f"no end within {MAX_DOCUMENT_BYTES:,} characters")
        numbered = self._waiting.popleft() if self._waiting else self._read()
        self._taken.append(numbered)
        self._n_characters += len(numbered[1])
        return numbered[1]

    def _read(self) -> tuple[int, str]:
        for line in self.lines:
            if not isinstance(line, Reject):
                return line
            (self._within if self._taken else self._rejects).append(line)
        raise StopIteration

    def take(self) -> tuple[list[Reject], list[Reject], list[tuple[int, str]]]:
        """Ends a row: what was no text before it, what within it, and its lines."""
        rejects, within, taken = self._rejects, self._within, self._taken
        self._rejects, self._within, self._taken, self._n_characters = [], [], [], 0
        return rejects, within, taken

    def give_back_all_but_first(self) -> tuple[int, str]:
        """Takes back the lines of what was no row, except for its first, which is given."""
        first, *rest = self._taken
        self._waiting.extendleft(reversed(rest))
        self._rejects += self._within
        self._within, self._taken, self._n_characters = [], [], 0
        return first


@dataclass(frozen=True)
class _Columns:
    """The header of a table.

    Args:
        n: How many columns.
        text: Which holds the text.
        id: Which names the row; -1 for none.
        about: Which are kept beside the text, by their names.
    """

    n: int
    text: int
    id: int
    about: Mapping[str, int]

    @classmethod
    def of(cls, header: _Row, path: Path, asked: Csv) -> _Columns:
        names = [name.strip() for name in header.fields]
        for setting, name in (("text_field", asked.text_field), ("id_field", asked.id_field)):
            if name and name not in names:
                raise DataError(
                    f"{path} has no column '{name}'; its columns are: {', '.join(names)}."
                    f" Set {setting} to the right one, or give the file a first line with names."
                )
        for name in (asked.text_field, asked.id_field, *asked.metadata_fields):
            if name and names.count(name) > 1:
                raise DataError(
                    f"{path} has {names.count(name)} columns '{name}': {', '.join(names)}. Nothing"
                    " tells which to read: rename the others in its first line."
                )
        about = {name: names.index(name) for name in asked.metadata_fields if name in names}
        own = names.index(asked.id_field) if asked.id_field else -1
        return cls(len(names), names.index(asked.text_field), own, about)

    def record(self, row: _Row, path: Path) -> Document | Reject:
        where = f"{path}:{row.number}"
        if len(row.fields) != self.n:
            cause = (
                f"{where} has {len(row.fields):,} fields, and the first row {self.n:,}. Quote"
                " fields that hold the delimiter, or set delimiter to the right one."
            )
            return Reject(where, "wrong_columns", cause, row.raw.encode())
        name = row.fields[self.id] if self.id >= 0 else where
        about = {key: row.fields[column] for key, column in self.about.items()}
        return Document(text=row.fields[self.text], id=name, metadata=about)


def _with_a_hole(path: Path, number: int, raw: str, line: Reject) -> Reject:
    cause = f"{path}:{number} is a row of several lines, one of which is no text. {line.cause}"
    return Reject(f"{path}:{number}", line.reason, cause, raw.encode())


def _broken(path: Path, number: int, line: str, error: csv.Error) -> Reject:
    cure = 'Close its quotes, and double those inside of a field ("").'
    if "new-line character" in str(error):
        cure = "It has a carriage return (\\r) that ends no line: write the table with \\n alone."
    cause = f"{path}:{number} is no row of a table: {error}. {cure}"
    return Reject(f"{path}:{number}", "not_csv", cause, line.encode())
