"""Jsonl: one JSON object per line, plain or compressed; a bad one is named by file and line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from roots.errors import DataError
from roots.records import Document, Reject
from roots.sources.decoding import REPLACEMENT
from roots.sources.finding import find_files
from roots.sources.opening import COMPRESSED, numbered_lines
from roots.sources.record_source import OnBadRecord, RecordSource

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class _BadRecord(DataError):
    """A record that cannot become a document.

    Args:
        reason: The kind of trouble.
        cause: What is wrong, and how to mend it; it quotes no text.
        line: What its beginning is quoted of, where the whole is not written beside it.
    """

    def __init__(self, reason: str, cause: str, line: str = "") -> None:
        super().__init__(f"{cause} It begins {line[:60]!r}." if line else cause)
        self.reason = reason
        self.cause = cause


class Jsonl(RecordSource):
    """Reads JSON lines: `.jsonl`, `.ndjson`, or either compressed (`.gz`, `.zst`).

    Half of a surrogate pair, which JSON can write and UTF-8 cannot, becomes U+FFFD and is counted.

    Args:
        paths: Files, globs, or folders (searched for the endings above), here or as URLs of object
            stores (`s3://…`); `~` and `${VARIABLE}` are expanded.
        text_field: The key that holds the text.
        id_field: The key that names the record; empty for `path:line`.
        metadata_fields: Keys kept beside the text where a record has them: `license` and `url` are
            counted in the corpus's card, and stages see them.
        on_bad_record: `error` ends the pass and names file, line and cause; `skip` counts the
            record, writes it to `rejects.jsonl` beside the shards, and goes on.
        max_bad_fraction: With `skip`: the greatest fraction of bad records, above 0 and to 1.

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
        """Lists the JSON-lines files that `paths` names."""
        kinds = [f"{kind}{packed}" for kind in (".jsonl", ".ndjson") for packed in COMPRESSED]
        return find_files(self.paths, kinds)

    def read(self) -> Iterator[Document | Reject]:
        """Streams one record per line; lines without anything on them are passed over."""
        self.n_replaced = 0
        for path in self.files():
            for number, offset, raw in numbered_lines(path):
                if not raw.isspace():
                    yield self._record(raw, path, number, offset)

    def _record(self, raw: bytes, path: Path, number: int, offset: int) -> Document | Reject:
        line = self._decoded(raw, path, number, offset)
        if isinstance(line, Reject):
            return line
        where = f"{path}:{number}"
        try:
            return self._document(line, where)
        except _BadRecord as error:
            return Reject(where, error.reason, error.cause, raw)

    def _document(self, line: str, where: str) -> Document:
        record = parse_object(line, where)
        text = _value(record, self.text_field, where, "text_field")
        if not isinstance(text, str):
            raise _BadRecord(
                "no_string",
                f"{where}: '{self.text_field}' is {kind_of(text)}, not a string."
                " Set text_field to a key that holds text, or mend the record.",
            )
        if not text.isascii():
            text, n_lone = _LONE_SURROGATE.subn(REPLACEMENT, text)
            self.n_replaced += n_lone
        id_ = _value(record, self.id_field, where, "id_field") if self.id_field else None
        name = where if id_ is None else str(id_)
        about = {key: record[key] for key in self.metadata_fields if key in record}
        return Document(text=text, id=name, metadata=about)


def parse_object(line: str, where: str) -> dict[str, Any]:
    """Reads a line as one JSON object; `where` names the line.

    Raises:
        DataError: It is no JSON, or no object.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a plain ValueError
        raise _BadRecord(
            "not_json",
            f"{where} is not JSON: {error}. Mend or delete this line; every line must be one whole"
            " JSON object.",
            line,
        ) from error
    if not isinstance(record, dict):
        raise _BadRecord(
            "no_object",
            f'{where} is {kind_of(record)}, not an object. Write {{"text": …}} on each line.',
        )
    return record


def _value(record: dict[str, Any], key: str, where: str, setting: str) -> Any:
    if key not in record:
        keys = ", ".join(sorted(record)) or "none"
        raise _BadRecord(
            "no_key",
            f"{where} has no key '{key}'; its keys are: {keys}. Set {setting} to the right one.",
        )
    return record[key]


def kind_of(value: object) -> str:
    """Says what a value is in JSON's words: `a string`, `null`, …."""
    names: dict[type, str] = {
        list: "a list",
        dict: "an object",
        str: "a string",
        bool: "true or false",
        bytes: "binary data",
    }
    return "null" if value is None else names.get(type(value), "a number")
