"""JsonRows: JSON objects, one on each line or all in one array."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from roots.errors import DataError
from roots.records import BadRow, Row
from roots.sources.decoding import without_bom
from roots.sources.finding import find_files
from roots.sources.jsonl import kind_of, parse_object
from roots.sources.opening import parts, whole
from roots.sources.rows.row_source import RowSource
from roots.sources.rows.text_lines import Line, text_lines, undecodable, whole_text

BAD_JSON = "bad JSON"
NO_OBJECT = "not an object"
HALF_PAIR = "half a surrogate pair"
ENDINGS = [f"{e}{packed}" for e in (".jsonl", ".ndjson", ".json") for packed in ("", ".gz")]
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class JsonRows(RowSource):
    """Reads JSON: `.jsonl` and `.ndjson` line by line; a `.json` file may be one array as well.

    Lines without anything on them are passed over. An array is read whole, so lines are better
    for large files; its rows are named by their place, `train.json[0]` the first, as `jq` does.

    Args:
        paths: Files, globs, or folders (searched for `.jsonl`, `.ndjson`, `.json` and these with
            `.gz`); `~` and `${VARIABLE}` are expanded.
    """

    def __init__(self, *, paths: str | list[str]) -> None:
        self.paths = paths

    def files(self) -> list[Path]:
        """Lists the JSON files that `paths` names."""
        return find_files(self.paths, ENDINGS)

    def read(self) -> Iterator[Row | BadRow]:
        """Streams one row per object, of one file after another."""
        for path in self.files():
            yield from _array(path) if is_array(path) else _lines(path)


def is_array(path: Path) -> bool:
    """Tells whether a `.json` file begins as an array does."""
    if not path.name.lower().removesuffix(".gz").endswith(".json"):
        return False
    return json_head(path).startswith(b"[")


def json_head(path: Path, n_bytes: int = 2**16) -> bytes:
    """Reads the first bytes of a file, without a BOM and the space before the first sign."""
    return without_bom(next(parts(path, n_bytes), b"")).lstrip()


def parse_whole(path: Path) -> Any:
    """Reads a file that is one JSON value.

    Raises:
        DataError: It is too large to be held in memory, or no JSON.
    """
    raw = whole(path, "Write it as JSON lines, one object on each line (.jsonl).")
    try:
        return json.loads(whole_text(path, raw, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is not JSON: {error}. One broken place spoils the whole of such a file: mend"
            " it, fetch the file again, or write JSON lines, one object on each line (.jsonl)."
        ) from error


def _lines(path: Path) -> Iterator[Row | BadRow]:
    for line in text_lines(path, "utf-8"):
        if line.problem:
            yield undecodable(path, line)
        elif not line.text.isspace():
            yield _row(path, line)


def _row(path: Path, line: Line) -> Row | BadRow:
    where = f"{path}:{line.number}"
    text = line.text.rstrip("\r\n")
    try:
        record = parse_object(text, where)
    except DataError as error:
        broken = isinstance(error.__cause__, (ValueError, RecursionError))
        reason = BAD_JSON if broken else NO_OBJECT
        return BadRow(where, reason, str(error), text)
    if _SURROGATE.search(text) and not _can_be_written(record):
        return _half_pair(where, text)
    return Row(record, where)


def _array(path: Path) -> Iterator[Row | BadRow]:
    for number, value in enumerate(parse_whole(path)):
        where = f"{path}[{number}]"
        if not isinstance(value, dict):
            message = f"{where} is {kind_of(value)}, not an object. Each row must be an object."
            yield BadRow(where, NO_OBJECT, message, value)
        elif not _can_be_written(value):
            yield _half_pair(where, json.dumps(value))
        else:
            yield Row(value, where)


def _can_be_written(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _half_pair(where: str, line: str) -> BadRow:
    message = (
        f"{where} holds half of a surrogate pair (\\ud800 to \\udfff without its other half), which"
        " is no character. Write the whole pair, or take it out."
    )
    return BadRow(where, HALF_PAIR, message, line)
