"""Files as bytes: plain or gzipped, whole or line by line, with what breaks told by its place."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from roots.errors import DataError
from roots.sources.decoding import MAX_DOCUMENT_BYTES, too_large

_PACKED = {".zst": "zstd -d", ".xz": "xz -d", ".bz2": "bzip2 -d", ".zip": "unzip"}
_BROKEN = (gzip.BadGzipFile, EOFError, zlib.error)


def numbered_lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Streams the lines of a file with their ends.

    Yields:
        The line's number from 1, the offset of its first byte in the unpacked file, and its bytes.

    Raises:
        DataError: A line is too long to hold, the packing is not read, or gzip data break.
    """
    number = offset = 0
    with open_bytes(path) as file:
        try:
            for raw in iter(lambda: file.readline(MAX_DOCUMENT_BYTES + 1), b""):
                number += 1
                if len(raw) > MAX_DOCUMENT_BYTES:
                    raise too_large(path, len(raw), f"Cut the text of line {number:,}.")
                yield number, offset, raw
                offset += len(raw)
        except _BROKEN as error:
            raise _broken(path, f" after line {number:,}", error) from error


def whole(path: Path, cure: str) -> bytes:
    """Reads a file that cannot be read in parts.

    Args:
        path: The file.
        cure: What to do when it is too large to be held in memory; a sentence.

    Raises:
        DataError: It is too large, the packing is not read, or gzip data break.
    """
    with open_bytes(path) as file:
        try:
            raw = file.read(MAX_DOCUMENT_BYTES + 1)
        except _BROKEN as error:
            raise _broken(path, "", error) from error
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise too_large(path, len(raw), cure)
    return raw


def parts(path: Path, n_bytes: int = 2**20) -> Iterator[bytes]:
    """Streams a file in parts of up to `n_bytes`; the first is its head.

    Raises:
        DataError: The packing is not read, or gzip data break.
    """
    offset = 0
    with open_bytes(path) as file:
        try:
            while part := file.read(n_bytes):
                yield part
                offset += len(part)
        except _BROKEN as error:
            raise _broken(path, f" after byte {offset:,}", error) from error


def open_bytes(path: Path) -> BinaryIO:
    """Opens a file for reading; one that ends in `.gz` is unpacked on the way.

    Raises:
        DataError: Its ending is a packing that is not read.
    """
    if path.suffix in _PACKED:
        raise DataError(
            f"{path}: files that end in {path.suffix} are not read."
            f" Unpack it first: {_PACKED[path.suffix]} {path}."
        )
    if path.suffix == ".gz":
        return cast("BinaryIO", gzip.open(path, "rb"))
    return path.open("rb")


def _broken(path: Path, place: str, error: BaseException) -> DataError:
    return DataError(
        f"{path}: the gzip data break{place} ({error})."
        " The file is cut short or damaged: fetch it again, and check with `gzip -t`."
    )
