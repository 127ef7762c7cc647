"""Delimited: tables as text, `.csv` and `.tsv`, read row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

from roots.errors import ConfigError, DataError
from roots.records import BadRow, Row
from roots.sources.decoding import Decoder
from roots.sources.finding import find_files
from roots.sources.rows.row_source import RowSource
from roots.sources.rows.table_lines import Record, plain_records, quoted_records

UNEQUAL = "unequal columns"
_DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
ENDINGS = [f"{ending}{packed}" for ending in _DELIMITERS for packed in ("", ".gz")]


class Delimited(RowSource):
    r"""Reads tables: `.csv`, `.tsv`, `.tab`, or one of them gzipped (`.gz`). Every value is a text.

    Lines with nothing on them are passed over.

    Args:
        paths: Files, globs, or folders (searched for the endings above); `~` and `${VARIABLE}` are
            expanded.
        columns: Names of the columns of files without a header line; empty where the first line
            names them.
        delimiter: The character between two values; empty to take it from the file's ending.
        quoting: `csv` reads a value in double quotes as one, delimiters and newlines (up to
            10,000) inside included (RFC 4180); in `none` a quote is a character as any other and
            a row is a line, as in GLUE's files. `auto` is `none` for tabs and `csv` for all else.
        encoding: How the files are encoded.

    Raises:
        ConfigError: A setting is none that exists.
    """

    def __init__(
        self,
        *,
        paths: str | list[str],
        columns: Sequence[str] = (),
        delimiter: str = "",
        quoting: Literal["auto", "csv", "none"] = "auto",
        encoding: str = "utf-8",
    ) -> None:
        if quoting not in ("auto", "csv", "none"):
            raise ConfigError(f"quoting='{quoting}' is none of auto, csv, none. Take one.")
        if len(delimiter) > 1 or delimiter in ('"', "\n", "\r"):
            raise ConfigError(
                f"delimiter={delimiter!r} cannot stand between values: it must be one character,"
                r' and no quote or newline. Write ",", ";", "|" or "\t" (in double quotes in YAML).'
            )
        _check_names(columns, "columns", "Give each its own name.")
        self.paths = paths
        self.columns = columns
        self.delimiter = delimiter
        self.quoting = quoting
        self.encoding = encoding
        Decoder(encoding=encoding)

    def files(self) -> list[Path]:
        """Lists the tables that `paths` names."""
        return find_files(self.paths, ENDINGS)

    def read(self) -> Iterator[Row | BadRow]:
        """Streams the rows of one file after another; each file has its own header."""
        for path in self.files():
            yield from self._read(path)

    def _read(self, path: Path) -> Iterator[Row | BadRow]:
        delimiter = self.delimiter or _by_ending(path)
        quoted = self.quoting == "csv" or (self.quoting == "auto" and delimiter != "\t")
        split = quoted_records if quoted else plain_records
        records = split(path, delimiter, self.encoding)
        first = next(records, None)
        if first is None:
            return
        names = self._names(first, path)
        if self.columns:
            records = chain([first], records)
        yield from _rows(records, names, path, quoted)

    def _names(self, first: Record, path: Path) -> list[str]:
        if not self.columns:
            if first.problem:
                raise DataError(f"The header cannot be read: {first.problem.message}")
            cure = "Mend the first line, or, if it is no header, name the columns with `columns`."
            _check_names(first.values, f"{path}:{first.number}, the header,", cure)
            return first.values
        if first.values == list(self.columns):
            raise ConfigError(
                f"{path} has a header line, {', '.join(first.values)}, and `columns` gives the same"
                " names again, so the header would count as a row. Leave `columns` out."
            )
        return list(self.columns)


def _rows(
    records: Iterator[Record], names: list[str], path: Path, quoted: bool
) -> Iterator[Row | BadRow]:
    n_columns = len(names)
    for record in records:
        if record.problem:
            yield record.problem
        elif len(record.values) == n_columns:
            yield Row(dict(zip(names, record.values, strict=True)), f"{path}:{record.number}")
        else:
            yield _unequal(record, names, path, quoted)


def _unequal(record: Record, names: list[str], path: Path, quoted: bool) -> BadRow:
    where = f"{path}:{record.number}"
    cure = (
        "Put a value that holds the delimiter in double quotes, or set delimiter."
        if quoted
        else "Take the delimiter out of the values, or set quoting to csv if they are quoted."
    )
    message = (
        f"{where} has {len(record.values)} values and the table {len(names)} columns"
        f" ({', '.join(names)}). {cure}"
    )
    return BadRow(where, UNEQUAL, message, record.values)


def _by_ending(path: Path) -> str:
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    if ending not in _DELIMITERS:
        raise ConfigError(
            f"{path} ends in '{ending}', which does not say what stands between its values."
            r' Set delimiter, such as "\t" or ",".'
        )
    return _DELIMITERS[ending]


def _check_names(names: Sequence[str], what: str, cure: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{what} names {twice[0]!r} {names.count(twice[0])} times. {cure}")
