"""Jsonl: one JSON object per line, plain or gzipped; a bad record is named by file and line."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from roots.errors import DataError
from roots.records import Document
from roots.sources.decoding import MAX_DOCUMENT_BYTES, REPLACEMENT, Decoder, too_large
from roots.sources.finding import find_files
from roots.sources.source import Source

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_PACKED = {".zst": "zstd -d", ".xz": "xz -d", ".bz2": "bzip2 -d", ".zip": "unzip"}


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
            for number, offset, raw in _lines(path):
                if raw.isspace():
                    continue
                line = decoder.decode(raw, path, offset)
                self.n_replaced += decoder.n_replaced
                decoder.n_replaced = 0
                yield self._document(line, path, number)

    def _document(self, line: str, path: Path, number: int) -> Document:
        where = f"{path}:{number}"
        record = _parse(line, where)
        text = _value(record, self.text_field, where, "text_field")
        if not isinstance(text, str):
            raise DataError(
                f"{where}: '{self.text_field}' is {_kind(text)}, not a string."
                " Set text_field to a key that holds text, or mend the record."
            )
        if not text.isascii():
            text, n_lone = _LONE_SURROGATE.subn(REPLACEMENT, text)
            self.n_replaced += n_lone
        name = str(_value(record, self.id_field, where, "id_field")) if self.id_field else where
        return Document(text=text, id=name)


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    number = offset = 0
    with _open(path) as file:
        try:
            for raw in iter(lambda: file.readline(MAX_DOCUMENT_BYTES + 1), b""):
                number += 1
                if len(raw) > MAX_DOCUMENT_BYTES:
                    raise too_large(path, len(raw), f"Cut the text of line {number:,}.")
                yield number, offset, raw
                offset += len(raw)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(
                f"{path}: the gzip data break after line {number:,} ({error})."
                " The file is cut short or damaged: fetch it again, and check with `gzip -t`."
            ) from error


def _open(path: Path) -> BinaryIO:
    if path.suffix in _PACKED:
        raise DataError(
            f"{path}: files that end in {path.suffix} are not read."
            f" Unpack it first: {_PACKED[path.suffix]} {path}."
        )
    if path.suffix == ".gz":
        return cast("BinaryIO", gzip.open(path, "rb"))
    return path.open("rb")


def _parse(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(
            f"{where} is not JSON: {error}. It begins {line[:60]!r}."
            " Mend or delete this line; every line must be one whole JSON object."
        ) from error
    if not isinstance(record, dict):
        raise DataError(
            f'{where} is {_kind(record)}, not an object. Write {{"text": …}} on each line.'
        )
    return record


def _value(record: dict[str, Any], key: str, where: str, setting: str) -> Any:
    if key not in record:
        keys = ", ".join(sorted(record)) or "none"
        raise DataError(
            f"{where} has no key '{key}'; its keys are: {keys}. Set {setting} to the right one."
        )
    return record[key]


def _kind(value: object) -> str:
    names = {list: "a list", dict: "an object", str: "a string", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")
