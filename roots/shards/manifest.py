"""Manifest: what a folder of shards says of itself, as JSON that is equal for equal contents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from roots.errors import ConfigError, DataError
from roots.records import is_folder
from roots.stores import StoredPath, is_file

MANIFEST = "manifest.json"
FORMAT = "roots-shards"
FORMAT_VERSION = 1
SPLITS = ("train", "val", "test")


def roots_version() -> str:
    """Tells the installed version of roots; `unknown` when it runs from a bare checkout."""
    try:
        return version("roots-lm")
    except PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True)
class FileRecord:
    """One file, its size and what it must hash to."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class SplitRecord:
    """One split.

    Args:
        documents: How many.
        tokens: How many, the eos after each document included.
        bytes: UTF-8 bytes of their texts.
        files: The files that hold them.
    """

    documents: int
    tokens: int
    bytes: int
    files: tuple[FileRecord, ...]


@dataclass(frozen=True)
class Manifest:
    """What a folder of shards says of itself.

    Args:
        dtype: The integer type of a token.
        vocab_size: Every id is below it.
        eos_id: Ends every document.
        tokenizer_fingerprint: The sha256 of the tokenizer that made the ids.
        input_fingerprint: The sha256 over the documents as they were streamed.
        recipe: The settings that made the folder.
        splits: By name: `train`, and `val` and `test` where they were asked for.
        documents_read: How many came in: those of all splits and those dropped.
        documents_dropped: How many were left out, by reason.
        places_replaced: Undecodable places that became U+FFFD.
        books: What came into, went on from and was dropped by each part of the pipeline, by source;
            `roots.corpus.Books.from_plain` reads it.
        records_rejected: Records that could not become documents, by reason.
        findings: Files beside the shards that tell what the passes over all documents found.
        roots_version: The version of roots that wrote it.
    """

    dtype: str
    vocab_size: int
    eos_id: int
    tokenizer_fingerprint: str
    input_fingerprint: str
    recipe: Mapping[str, Any]
    splits: Mapping[str, SplitRecord]
    documents_read: int
    documents_dropped: Mapping[str, int]
    places_replaced: int = 0
    books: Sequence[Mapping[str, Any]] = ()
    records_rejected: Mapping[str, int] = field(default_factory=dict)
    findings: Sequence[str] = ()
    roots_version: str = field(default_factory=roots_version)

    def to_json(self) -> str:
        """Writes canonical JSON: sorted keys, no times, a newline at the end."""
        content = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}
        return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Reads the manifest of `folder`.

        Raises:
            DataError: It is missing, damaged, foreign or of another version.
            ConfigError: A newer roots wrote it.
        """
        path = folder / MANIFEST
        if not is_file(path):
            raise DataError(_missing(folder))
        content = _parse(path)
        if content.get("format") != FORMAT or content.get("format_version") != FORMAT_VERSION:
            raise DataError(
                f"{path} has format {content.get('format')!r}, version"
                f" {content.get('format_version')!r}; expected {FORMAT!r}, version"
                f" {FORMAT_VERSION}. Build the folder again with this roots ({roots_version()}),"
                " or use the roots that wrote it."
            )
        unknown = content.keys() - {"format", "format_version", *(f.name for f in fields(Manifest))}
        if unknown:  # no DataError: such a folder is not to be built again in its place
            raise ConfigError(
                f"{path} was written by roots {content.get('roots_version')}, and this is"
                f" {roots_version()}, which does not know its {', '.join(sorted(unknown))}. Use"
                " that version or a later one, or build another folder."
            )
        try:
            return _from_content(content)
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path} is damaged: {type(error).__name__}: {error}."
                " Delete the folder and build it again with `roots corpus`."
            ) from error


def _missing(folder: Path) -> str:
    if isinstance(folder, StoredPath):
        return (
            f"{folder} holds no {MANIFEST}. Correct the URL, or upload a folder that `roots corpus`"
            " wrote, with all that is in it."
        )
    if is_file(folder):
        return (
            f"{folder} is a file, and shards are a folder: {MANIFEST}, and two files per split."
            f" Give the folder that `roots corpus` wrote; {folder.absolute().parent} is the one"
            " that this file is in."
        )
    if not is_folder(folder):
        return (
            f"{folder} does not exist (looked for {folder.absolute()}). Build it with"
            " `roots corpus --config … --out …`, or correct the path."
        )
    if any(folder.glob("*.bin")):
        return (
            f"{folder} holds .bin files but no {MANIFEST}, so neither its tokenizer nor its sums"
            " are known. Name its files train.bin, train.idx (and val.*), and write one in Python:"
            f" roots.corpus.adopt(folder='{folder}', tokenizer='FOLDER OF ITS tokenizer.json')."
        )
    return (
        f"{folder} holds no {MANIFEST}, so it is no folder of shards."
        " Build one with `roots corpus --config … --out …`, or correct the path."
    )


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(
            f"{path} is not JSON: {error}."
            " Delete the folder and build it again with `roots corpus`."
        ) from error
    return content if isinstance(content, dict) else {}


def _from_content(content: dict[str, Any]) -> Manifest:
    known = {key: value for key, value in content.items() if not key.startswith("format")}
    splits = {name: _split(record) for name, record in known.pop("splits").items()}
    return Manifest(**known, splits=splits)


def _split(record: dict[str, Any]) -> SplitRecord:
    files = tuple(FileRecord(**each) for each in record["files"])
    return SplitRecord(**{**record, "files": files})
