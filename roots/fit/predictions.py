"""What a network says of each row, from all ranks into one file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from roots.data import TaskData
from roots.errors import ConfigError, UserError
from roots.records import as_json
from roots.runs import check_place, write_atomically
from roots.sources.finding import find_files
from roots.sources.rows import rows_from

ENDINGS = (".jsonl", ".csv")


def check_file(path: Path) -> None:
    """Raises ConfigError when predictions cannot be written there, or not with such an ending."""
    if path.suffix not in ENDINGS:
        raise ConfigError(
            f"--to {path}: predictions are written as {' or '.join(ENDINGS)}, not as"
            f" {path.suffix or 'a file without an ending'}. Name a file that ends so."
        )
    check_place(path, "--to", is_folder=False)


def refuse_what_is_read(path: Path, data: TaskData, endings: Iterable[str] = ()) -> None:
    """Raises ConfigError when predictions would replace a file of the rows.

    Args:
        path: Where predictions are written.
        data: Says where the rows to predict, and those of its splits, are.
        endings: Those of the files that are written beside it.
    """
    written = [path, *(path.with_suffix(ending) for ending in endings)]
    for file in _files_of(data):
        for mine in written:
            if mine.exists() and mine.samefile(file):
                other = file.with_name(f"{file.name.partition('.')[0]}-predictions{path.suffix}")
                raise ConfigError(
                    f"--to {path}: {mine} is a file that rows are read from ({file}), and the"
                    f" predictions would replace it. Name another, such as {other}."
                )


def _files_of(data: TaskData) -> list[Path]:
    """Lists the files of the rows, as far as they are still there."""
    found = find_files(data.predict_from, [""]) if data.predict_from else []
    for source in (data.train, data.val, data.test):
        with suppress(UserError):
            found += rows_from(source).files() if source else []
    return found


def gathered(trainer: Any, batches: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Puts the rows of all ranks together, in the order of the data; every rank must ask."""
    rows = trainer.strategy.joined([row for batch in batches for row in batch])
    return sorted(rows, key=lambda row: row["sample"])


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes rows as JSON lines, or as a table whose nested names are joined by `/`."""
    if path.suffix != ".csv":
        write_atomically(path, "".join(as_json(r) + "\n" for r in rows))
        return
    flat = [_flat(row) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    write_atomically(path, text.getvalue())


def _flat(row: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{before}{name}/")
        elif isinstance(value, (list, tuple)):
            flat[before + name] = as_json(value)
        else:
            flat[before + name] = value
    return flat
