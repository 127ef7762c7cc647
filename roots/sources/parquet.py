"""Parquet: a column of texts, read by pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from roots.errors import DataError
from roots.records import Document, Reject
from roots.sources.finding import find_files
from roots.sources.record_source import OnBadRecord, RecordSource
from roots.stores import StoredPath

_ROWS = 1024
_STRINGS = ("string", "large_string", "string_view")
_TEXTS = (*_STRINGS, "binary", "large_binary", "binary_view")
"""Types of columns, also of dictionaries (pandas' categories)."""


class Parquet(RecordSource):
    """Reads a column of `.parquet` files, a row group at a time.

    A row group that is damaged costs its own rows and no others.

    Args:
        paths: Files, globs, or folders (searched for `.parquet`), here or as URLs of object stores
            (`s3://…`); `~` and `${VARIABLE}` are expanded.
        text_field: The column that holds the text.
        id_field: The column that names the row; empty for `path:row`, counted from 1.
        metadata_fields: Columns kept beside the text, where there are any: `license` and `url` are
            counted in the corpus's card, and stages see them.
        on_bad_record: `error` ends the pass and names file, row and cause; `skip` counts the row,
            writes it to `rejects.jsonl` beside the shards, and goes on.
        max_bad_fraction: With `skip`: the greatest fraction of bad rows, above 0 and to 1.

    Raises:
        ConfigError: `skip` without a fraction, or a fraction without `skip`.
    """

    def __init__(
        self,
        *,
        paths: str | list[str],
        text_field: str = "text",
        id_field: str = "",
        metadata_fields: Sequence[str] = (),
        on_bad_record: OnBadRecord = "error",
        max_bad_fraction: float = 0.0,
    ) -> None:
        super().__init__(on_bad_record=on_bad_record, max_bad_fraction=max_bad_fraction)
        self.paths = paths
        self.text_field = text_field
        self.id_field = id_field
        self.metadata_fields = list(metadata_fields)

    def files(self) -> list[Path]:
        """Lists the parquet files that `paths` names."""
        return find_files(self.paths, [".parquet"])

    def read(self) -> Iterator[Document | Reject]:
        """Streams one record per row."""
        self.n_replaced = 0
        for path in self.files():
            table = _open(path)
            self._check_columns(path, table)
            first = 1
            for group in range(table.num_row_groups):
                yield from self._group(path, table, group, first)
                first += table.metadata.row_group(group).num_rows

    def _group(self, path: Path, table: Any, group: int, first: int) -> Iterator[Document | Reject]:
        n_rows = table.metadata.row_group(group).num_rows
        n_given = 0
        try:
            for row in self._rows(table, group):
                yield self._record(path, first + n_given, *row)
                n_given += 1
        except OSError as error:  # pyarrow's errors of reading are these, or come as ArrowInvalid
            yield from _damaged(path, group, range(first + n_given, first + n_rows), error)

    def _rows(self, table: Any, group: int) -> Iterator[tuple[bytes | None, dict[str, Any]]]:
        """Streams the text of each row, and what else is asked of it."""
        import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]

        there = table.schema_arrow.names
        others = [name for name in (self.id_field, *self.metadata_fields) if name in there]
        names = list(dict.fromkeys([self.text_field, *others]))
        try:
            for batch in table.iter_batches(_ROWS, row_groups=[group], columns=names):
                texts = batch.column(self.text_field).cast(pa.large_binary()).to_pylist()
                values = [_values(batch.column(name)) for name in others]
                about = (dict(zip(others, row, strict=True)) for row in zip(*values, strict=True))
                yield from zip(texts, about if others else ({} for _ in texts), strict=True)
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise OSError(str(error)) from error

    def _record(
        self, path: Path, row: int, raw: bytes | None, others: dict[str, Any]
    ) -> Document | Reject:
        where = f"{path}:{row}"
        if raw is None:
            cause = f"{where}: '{self.text_field}' is null. Fill it, or filter such rows out."
            return Reject(where, "no_string", cause)
        text = self._decoded(raw, path, row, offset=row)
        if isinstance(text, Reject):
            return text
        about = {key: others[key] for key in self.metadata_fields if key in others}
        name = others[self.id_field] if self.id_field else None
        name = where if name is None else str(name)
        return Document(text=text, id=name, metadata=about)

    def _check_columns(self, path: Path, table: Any) -> None:
        schema = table.schema_arrow
        for setting, name in (("text_field", self.text_field), ("id_field", self.id_field)):
            if name and name not in schema.names:
                raise DataError(
                    f"{path} has no column '{name}'; its columns are: {', '.join(schema.names)}."
                    f" Set {setting} to the right one."
                )
        for name in (self.text_field, self.id_field, *self.metadata_fields):
            if schema.names.count(name) > 1:
                raise DataError(
                    f"{path} has {schema.names.count(name)} columns '{name}', so none is meant."
                    " Give all but one of them another name, or another one here."
                )
        kind = schema.field(self.text_field).type
        if _held(kind) not in _TEXTS:
            raise DataError(
                f"{path}: the column '{self.text_field}' holds {kind}, no texts."
                " Set text_field to one that does."
            )


def _held(kind: Any) -> str:
    """Names a type of columns; of a dictionary that of what its numbers stand for."""
    import pyarrow as pa

    return str(kind.value_type if pa.types.is_dictionary(kind) else kind)


def _values(column: Any) -> list[Any]:
    r"""Gives the values of a column; a string that is no UTF-8 has its bad bytes as `\xe9`."""
    import pyarrow as pa

    if _held(column.type) not in _STRINGS:
        return list(column.to_pylist())
    raws = column.cast(pa.large_binary()).to_pylist()
    return [raw if raw is None else raw.decode("utf-8", "backslashreplace") for raw in raws]


def _open(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq  # type: ignore[import-untyped,unused-ignore]

    try:
        if isinstance(path, StoredPath):
            opened = path.open("rb")
            table = pq.ParquetFile(opened, page_checksum_verification=True, pre_buffer=True)
        else:
            table = pq.ParquetFile(path, page_checksum_verification=True)
        _ = table.schema_arrow.names  # which may be no UTF-8
        return table
    except PermissionError as error:
        raise DataError(
            f"{path} may not be read ({error.strerror}). Ask for the right to."
        ) from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is no parquet file, or its end, which lists what is where, is damaged:"
            f" {error}. Fetch it again."
        ) from error


def _damaged(path: Path, group: int, rows: range, error: OSError) -> Iterator[Reject]:
    for row in rows:
        cause = (
            f"{path}:{row} is in row group {group}, whose {len(rows):,} rows from {rows[0]:,} on"
            f" cannot be read: {error}. Fetch the file again."
        )
        yield Reject(f"{path}:{row}", "damaged_row_group", cause)
