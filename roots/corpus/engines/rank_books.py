"""The books of every task of a run, a file each, and their sum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roots.corpus.books import Books
from roots.corpus.engines.engine_folder import EngineFolder
from roots.errors import ConfigError, DataError
from roots.records import class_path, plain


def write_books(
    folder: EngineFolder, books: Books, rank: int, world_size: int, parts: Sequence[Any] = ()
) -> None:
    """Writes the books of a task that has decided all of its documents; a second try replaces them.

    Args:
        folder: For the books of this run and nothing else.
        books: Those of the task.
        rank: Which task it is, from 0.
        world_size: How many tasks there are.
        parts: What decided; of their classes and arguments a hash is written.
    """
    content = {
        "rank": rank,
        "world_size": world_size,
        "parts": _hash_of(parts),
        "source": books.source,
        "books": books.plain(),
    }
    with folder.writing(f"{rank:05d}.json", "w") as file:
        json.dump(content, file, indent=1, sort_keys=True, ensure_ascii=False)


def _hash_of(parts: Sequence[Any]) -> str:
    """Hashes classes and arguments: one that does not keep its arguments counts by its class."""
    described = json.dumps([_described(part) for part in parts], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()[:16]


def _described(part: Any) -> Any:
    try:
        return plain(part)
    except (ConfigError, TypeError, ValueError):
        return class_path(type(part))


def read_books(folder: str | Path) -> Books:
    """Adds up the books that the tasks of a run have written.

    Two runs of as many tasks with equal stages look like one that was started twice: give each
    a folder of its own.

    Args:
        folder: What the step was given as `books`.

    Raises:
        DataError: Those of a task are missing, or the folder holds those of other stages or of
            another number of tasks too.
    """
    place = EngineFolder(folder)
    written = [_read(place, name) for name in place.names(".json")]
    _check(written, place)
    first = written[0]
    total = Books([part["name"] for part in first["books"]], first["source"])
    for each in written:
        total.add(Books.from_plain(each["books"], each["source"]))
    return total


def _read(folder: EngineFolder, name: str) -> dict[str, Any]:
    with folder.open(name, "r") as file:
        written: dict[str, Any] = json.load(file)
    return written


def _check(written: list[dict[str, Any]], folder: EngineFolder) -> None:
    if not written:
        raise DataError(f"{folder} holds no books. Give the folder that the step was given.")
    sizes = sorted({each["world_size"] for each in written})
    parts = {(each.get("parts"), *(row["name"] for row in each["books"])) for each in written}
    if len(sizes) > 1 or len(parts) > 1:
        raise DataError(
            f"{folder} holds the books of several runs: of {sizes} tasks and {len(parts)} lists of"
            " stages, by their names and arguments. Give each run a folder of its own, or remove"
            " the older files."
        )
    missing = sorted(set(range(sizes[0])) - {each["rank"] for each in written})
    if missing:
        raise DataError(
            f"{folder} lacks the books of {len(missing):,} of {sizes[0]:,} tasks: the first is"
            f" {missing[0]}. Run the pipeline again. datatrove leaves out a task that it counts as"
            f" finished: where its logging_dir has completions/{missing[0]:05d}, remove that first."
        )
