"""Documents on disk between two parts of a build; written once, read as often as needed."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from roots.errors import DataError
from roots.records import Document
from roots.shards.hashed_file import HashedFile
from roots.sources import Source

_HEAD = struct.Struct("<IIIQ")


class Spool(Source):
    """A file of documents, exactly as they were: text, id, source and metadata.

    Args:
        path: The file.
    """

    def __init__(self, *, path: Path) -> None:
        self.path = path

    def files(self) -> list[Path]:
        """Names the file."""
        return [self.path]

    def documents(self) -> Iterator[Document]:
        """Streams what was added."""
        with self.path.open("rb") as file:
            while head := file.read(_HEAD.size):
                lengths = _HEAD.unpack(head)
                name, source, extra, text = (
                    file.read(length).decode("utf-8", "surrogatepass") for length in lengths
                )
                yield Document(text, name, json.loads(extra) if extra else {}, source)

    def writer(self) -> SpoolWriter:
        """Opens the file anew for writing, as a context manager."""
        return SpoolWriter(HashedFile(self.path))


class SpoolWriter:
    """Adds documents to a spool.

    Args:
        file: The file of the spool, at the end of a document.
    """

    def __init__(self, file: HashedFile) -> None:
        self.file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.file.close()

    def add(self, document: Document) -> None:
        """Appends one document.

        Raises:
            DataError: Its text holds half of a surrogate pair.
        """
        try:
            raw = document.text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"Document {document.id}: a stage left half of a surrogate pair at character"
                f" {error.start:,}, which UTF-8 cannot write. Have it write U+FFFD instead."
            ) from error
        extra = json.dumps(dict(document.metadata), default=str) if document.metadata else ""
        names = (str(document.id), document.source)  # of a path that is no UTF-8, or from JSON
        named = (name.encode("utf-8", "surrogatepass") for name in names)
        parts = (*named, extra.encode(), raw)
        self.file.write(_HEAD.pack(*map(len, parts)) + b"".join(parts))
