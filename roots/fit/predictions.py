"""What a network says of each row, from all ranks into one file."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from roots.data import StepData, TaskData
from roots.data.corpus_data import CorpusData
from roots.errors import ConfigError, UserError
from roots.records import as_json, is_file
from roots.runs import Run, check_place, write_atomically
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
    _check_no_book(path)


def _check_no_book(path: Path) -> None:
    """Keeps what a run wrote of itself: in its directory only `predictions…` are written."""
    real = Path(os.path.realpath(path))
    runs = (f for f in real.parents if Run(f).is_one and is_file(f / "environment.json"))
    if (run := next(runs, None)) and not real.name.startswith("predictions"):
        raise ConfigError(
            f"--to {path} lies in the directory of a run ({run}), where predictions replace nothing"
            " that the run wrote of itself: their names begin so. Name it"
            f" {run / f'predictions-{real.name}'}, or give another folder."
        )


def refuse_what_is_read(path: Path, data: StepData, endings: Iterable[str] = ()) -> None:
    """Raises ConfigError when predictions would replace a file of the data.

    Args:
        path: Where predictions are written.
        data: Says what is read.
        endings: Those of the files that are written beside it.
    """
    written = [path, *(path.with_suffix(ending) for ending in endings)]
    replaced = [(mine, mine.stat()) for mine in written if mine.exists()]
    for file in _files_of(data) if replaced else ():
        for mine, stat in replaced:
            if _is_same(file, stat):
                other = file.with_name(f"{file.name.partition('.')[0]}-predictions{path.suffix}")
                raise ConfigError(
                    f"--to {path}: {mine} is a file that rows are read from ({file}), and the"
                    f" predictions would replace it. Name another, such as {other}."
                )


def _is_same(file: Path, other: os.stat_result) -> bool:
    try:
        return os.path.samestat(file.stat(), other)
    except (OSError, ValueError):  # it is gone, or the word is no path at all
        return False


def _files_of(data: StepData) -> list[Path]:
    """Lists the files of rows or text, as far as they are still there, and those of settings."""
    found = list(_named(data.spec))
    if isinstance(data, CorpusData):
        return found + [file for corpus in data.corpora.opened.values() for file in corpus.files]
    if not isinstance(data, TaskData):
        return found
    found += find_files(data.predict_from, [""]) if data.predict_from else []
    for source in (data.train, data.val, data.test):
        with suppress(UserError):
            found += rows_from(source).files() if source else []
    return found


def _named(settings: Any) -> Iterator[Path]:
    """Gives what the words among settings would be as paths: a list of synonyms, say."""
    if isinstance(settings, str):
        yield Path(os.path.expanduser(settings))  # noqa: PTH111 (a path object would raise)
    elif isinstance(settings, Mapping | list | tuple):
        for each in settings.values() if isinstance(settings, Mapping) else settings:
            yield from _named(each)


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
