"""Parquet: tables in columns, read in batches by pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from roots.errors import DataError
from roots.records import BadRow, Row
from roots.sources.finding import find_files
from roots.sources.rows.row_source import RowSource

UNREADABLE = "unreadable value"
_BATCH = 1024


class Parquet(RowSource):
    """Reads Parquet files, a batch of rows at a time. Rows are named by their number from 1.

    Args:
        paths: Files, globs, or folders (searched for `.parquet`); `~` and `${VARIABLE}` are
            expanded.
    """

    def __init__(self, *, paths: str | list[str]) -> None:
        self.paths = paths

    def files(self) -> list[Path]:
        """Lists the Parquet files that `paths` names."""
        return find_files(self.paths, [".parquet"])

    def read(self) -> Iterator[Row | BadRow]:
        """Streams the rows of one file after another."""
        for path in self.files():
            number = 0
            for batch in _batches(path):
                yield from rows_of(batch, str(path), number)
                number += batch.num_rows


def rows_of(batch: Any, name: str, before: int) -> Iterator[Row | BadRow]:
    """Turns an Arrow batch into rows; a value that cannot be read spoils its own row only.

    Args:
        batch: A `pyarrow.RecordBatch` or `Table`.
        name: Names the file in messages.
        before: How many rows came before it.
    """
    try:
        records = batch.to_pylist()
    except (ValueError, OverflowError):  # UnicodeDecodeError and ArrowInvalid are ValueErrors
        for at in range(batch.num_rows):
            yield _row(batch.slice(at, 1), f"{name}:{before + at + 1}")
        return
    for number, record in enumerate(records, before + 1):
        yield Row(record, f"{name}:{number}")


def _row(batch: Any, where: str) -> Row | BadRow:
    fields: dict[str, object] = {}
    problem = ""
    for name in batch.schema.names:
        try:
            fields[name] = batch.column(name)[0].as_py()
        except (ValueError, OverflowError) as error:
            fields[name] = f"<{batch.schema.field(name).type}>"
            problem = problem or f"the value in column '{name}' cannot be read ({error})"
    if not problem:
        return Row(fields, where)
    return BadRow(where, UNREADABLE, f"{where}: {problem}. Mend or delete it.", fields)


def _batches(path: Path) -> Iterator[Any]:
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise DataError(
                    f"{path} has the column '{twice[0]}' {names.count(twice[0])} times."
                    " Write the file with a name of its own for each column."
                )
            yield from file.iter_batches(batch_size=_BATCH)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        cause = " ".join(str(error).split()).removesuffix(".")
        raise DataError(
            f"{path} cannot be read as Parquet: {cause}."
            " It is cut short, damaged or another format: fetch it or write it again."
        ) from error
