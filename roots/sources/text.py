"""Text: plain text files, a document per file, per line or per paragraph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from roots.errors import ConfigError
from roots.records import Document
from roots.sources.decoding import MAX_DOCUMENT_BYTES, Decoder, check_head, open_raw, too_large
from roots.sources.finding import find_files
from roots.sources.source import Source

_UNITS = ("file", "line", "blank_line")


class Text(Source):
    r"""Reads plain text files.

    The text is kept as it is, `\r\n` included, except for a byte order mark. A line loses its end.

    Args:
        paths: Files, globs, or folders (in which every `.txt` at any depth is read), here or as
            URLs of object stores (`s3://…`); `~` and `${VARIABLE}` are expanded.
        document: What one document is: a whole `file`, a `line`, or what stands between blank
            lines (`blank_line`). A corpus is split by documents, so one file needs the latter two.
        encoding: How the files are encoded.
        strict: Raise on an undecodable byte instead of replacing it by U+FFFD and counting it.

    Raises:
        ConfigError: `document` or `encoding` is none that exists.
    """

    def __init__(
        self,
        *,
        paths: str | list[str],
        document: Literal["file", "line", "blank_line"] = "file",
        encoding: str = "utf-8",
        strict: bool = False,
    ) -> None:
        if document not in _UNITS:
            raise ConfigError(f"document='{document}' is none of {', '.join(_UNITS)}. Take one.")
        self.paths = paths
        self.document = document
        self.encoding = encoding
        self.strict = strict
        Decoder(encoding=encoding)

    def files(self) -> list[Path]:
        """Lists the text files that `paths` names."""
        return find_files(self.paths, [".txt"])

    def documents(self) -> Iterator[Document]:
        """Streams the documents of one file after another."""
        self.n_replaced = 0
        for path in self.files():
            check_head(path, self.encoding)
            decoder = Decoder(encoding=self.encoding, strict=self.strict)
            n_before = self.n_replaced
            for document in self._read(path, decoder):
                self.n_replaced = n_before + decoder.n_replaced
                yield document

    def _read(self, path: Path, decoder: Decoder) -> Iterator[Document]:
        if self.document == "file":
            yield _whole(path, decoder)
        elif self.document == "line":
            for number, _, line in _lines(path, decoder):
                yield Document(text=line.rstrip("\r\n"), id=f"{path}:{number}")
        else:
            yield from _paragraphs(path, decoder)


def _whole(path: Path, decoder: Decoder) -> Document:
    n_bytes = path.stat().st_size
    if n_bytes > MAX_DOCUMENT_BYTES:
        raise too_large(path, n_bytes, "Set document to blank_line or line.")
    return Document(text=decoder.decode(path.read_bytes(), path), id=str(path))


def _lines(path: Path, decoder: Decoder) -> Iterator[tuple[int, int, str]]:
    offset = 0
    with open_raw(path) as file:
        for number, raw in enumerate(iter(lambda: file.readline(MAX_DOCUMENT_BYTES + 1), b""), 1):
            if len(raw) > MAX_DOCUMENT_BYTES:
                raise too_large(path, len(raw), f"Break line {number:,} into shorter ones.")
            yield number, len(raw), decoder.decode(raw, path, offset)
            offset += len(raw)


def _paragraphs(path: Path, decoder: Decoder) -> Iterator[Document]:
    lines: list[str] = []
    first = n_bytes = 0
    for number, n_raw, line in _lines(path, decoder):
        if line.strip():
            first, n_bytes = (first, n_bytes + n_raw) if lines else (number, n_raw)
            lines.append(line)
        elif lines:
            yield _joined(path, first, lines)
            lines = []
        if n_bytes > MAX_DOCUMENT_BYTES:
            raise too_large(path, n_bytes, f"Put blank lines after line {first:,}.")
    if lines:
        yield _joined(path, first, lines)


def _joined(path: Path, first: int, lines: list[str]) -> Document:
    return Document(text="".join(lines).rstrip("\r\n"), id=f"{path}:{first}")
