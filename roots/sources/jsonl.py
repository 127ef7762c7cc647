"""Jsonl: one JSON object per line, plain or gzipped; a bad record is named by file and line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from roots.errors import DataError
from roots.records import Document
from roots.sources.decoding import REPLACEMENT, Decoder
from roots.sources.finding import find_files
from roots.sources.opening import numbered_lines
from roots.sources.source import Source

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Jsonl(Source):
    """Reads JSON lines: `.jsonl`, `.ndjson`, or either gzipped (`.gz`).

    Half of a surrogate pair, which JSON can write and UTF-8 cannot, becomes U+FFFD and is counted.

    Args:
        paths: Files, globs, or folders (searched for the endings above); `~` and `${VARIABLE}` are
            expanded.
        text_field: The key that holds the text.
        id_field: The key that names the record; empty for `path:line`.
    """

    def __init__(
        self, *, paths: str | list[str], text_field: str = "text", id_field: str = ""
    ) -> None:
        self.paths = paths
        self.text_field = text_field
        self.id_field = id_field

    def files(self) -> list[Path]:
        """Lists the JSON-lines files that `paths` names."""
        return find_files(self.paths, [".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"])

    def documents(self) -> Iterator[Document]:
        """Streams one document per line; lines without anything on them are passed over."""
        self.n_replaced = 0
        for path in self.files():
            decoder = Decoder()
            for number, offset, raw in numbered_lines(path):
                if raw.isspace():
                    continue
                line = decoder.decode(raw, path, offset)
                self.n_replaced += decoder.n_replaced
                decoder.n_replaced = 0
                yield self._document(line, path, number)

    def _document(self, line: str, path: Path, number: int) -> Document:
        where = f"{path}:{number}"
        record = parse_object(line, where)
        text = _value(record, self.text_field, where, "text_field")
        if not isinstance(text, str):
            raise DataError(
                f"{where}: '{self.text_field}' is {kind_of(text)}, not a string."
                " Set text_field to a key that holds text, or mend the record."
            )
        if not text.isascii():
            text, n_lone = _LONE_SURROGATE.subn(REPLACEMENT, text)
            self.n_replaced += n_lone
        name = str(_value(record, self.id_field, where, "id_field")) if self.id_field else where
        return Document(text=text, id=name)


def parse_object(line: str, where: str) -> dict[str, Any]:
    """Reads a line as one JSON object; `where` names the line.

    Raises:
        DataError: It is no JSON, or no object.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a plain ValueError
        raise DataError(
            f"{where} is not JSON: {error}. It begins {line[:60]!r}."
            " Mend or delete this line; every line must be one whole JSON object."
        ) from error
    if not isinstance(record, dict):
        raise DataError(
            f'{where} is {kind_of(record)}, not an object. Write {{"text": …}} on each line.'
        )
    return record


def _value(record: dict[str, Any], key: str, where: str, setting: str) -> Any:
    if key not in record:
        keys = ", ".join(sorted(record)) or "none"
        raise DataError(
            f"{where} has no key '{key}'; its keys are: {keys}. Set {setting} to the right one."
        )
    return record[key]


def kind_of(value: object) -> str:
    """Says what a value is in JSON's words: `a string`, `null`, …."""
    names = {list: "a list", dict: "an object", str: "a string", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")
