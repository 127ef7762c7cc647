"""Files as bytes: plain or compressed, whole or by lines, with what breaks told by its place."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from roots.errors import DataError
from roots.sources.decoding import MAX_DOCUMENT_BYTES, open_raw, too_large
from roots.sources.zstd import open_zst, zst_errors

COMPRESSED = ("", ".gz", ".zst")
"""What may follow the ending of a file of lines."""

_PACKED = {".xz": "xz -d", ".bz2": "bzip2 -d", ".zip": "unzip"}


def numbered_lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Streams the lines of a file with their ends.

    Of a line above the limit of a document only so much comes that its length tells; the rest is
    passed over.

    Yields:
        The line's number from 1, the offset of its first byte in the unpacked file, and its bytes.

    Raises:
        DataError: The compression is not read, or the compressed data break.
        MissingExtra: The package that reads `.zst` is not installed.
    """
    number = offset = 0
    with open_bytes(path) as file, unpacking(path, lambda: f" after line {number:,}"):
        for raw in iter(lambda: file.readline(MAX_DOCUMENT_BYTES + 1), b""):
            number += 1
            yield number, offset, raw
            offset += len(raw)
            if len(raw) > MAX_DOCUMENT_BYTES and not raw.endswith(b"\n"):
                offset += _pass_over(file)


def whole(path: Path, cure: str) -> bytes:
    """Reads a file that cannot be read in parts.

    Args:
        path: The file.
        cure: What to do when it is too large to be held in memory; a sentence.

    Raises:
        DataError: It is too large, its compression is not read, or the compressed data break.
        MissingExtra: The package that reads `.zst` is not installed.
    """
    with open_bytes(path) as file, unpacking(path, lambda: ""):
        raw = file.read(MAX_DOCUMENT_BYTES + 1)
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise too_large(path, len(raw), cure)
    return raw


def parts(path: Path, n_bytes: int = 2**20) -> Iterator[bytes]:
    """Streams a file in parts of up to `n_bytes`; the first is its head.

    Raises:
        DataError: The compression is not read, or the compressed data break.
        MissingExtra: The package that reads `.zst` is not installed.
    """
    offset = 0
    with open_bytes(path) as file, unpacking(path, lambda: f" after byte {offset:,}"):
        while part := file.read(n_bytes):
            yield part
            offset += len(part)


def open_bytes(path: Path) -> BinaryIO:
    """Opens a file for reading, decompressed as its ending says.

    Raises:
        DataError: Its ending is a compression that is not read, it belongs to others, or is
            compressed and empty.
        MissingExtra: The package that reads `.zst` is not installed.
    """
    if path.suffix.lower() in _PACKED:
        raise DataError(
            f"{path}: files that end in {path.suffix} are not read."
            f" Unpack it first: {_PACKED[path.suffix.lower()]} {path}."
        )
    if path.suffix.lower() in COMPRESSED[1:] and path.stat().st_size == 0:
        raise DataError(
            f"{path} is empty (0 bytes), and even nothing has some bytes when it is compressed."
            " Fetch it again, or remove it."
        )
    if path.suffix.lower() == ".gz":
        return cast("BinaryIO", Gunzipped(open_raw(path)))
    if path.suffix.lower() == ".zst":
        return cast("BinaryIO", open_zst(path))
    return open_raw(path)


class Gunzipped(gzip.GzipFile):
    """The unpacked bytes of an open file, which is closed with it.

    Args:
        packed: The file.
    """

    def __init__(self, packed: BinaryIO) -> None:
        super().__init__(fileobj=packed, mode="rb")
        self._packed = packed

    def close(self) -> None:
        """Closes both."""
        try:
            super().close()
        finally:
            self._packed.close()


def _pass_over(file: BinaryIO) -> int:
    """Reads up to and over the next newline; tells how many bytes."""
    n_bytes = 0
    for raw in iter(lambda: file.readline(2**20), b""):
        n_bytes += len(raw)
        if raw.endswith(b"\n"):
            break
    return n_bytes


@contextmanager
def unpacking(path: Path, place: Callable[[], str]) -> Iterator[None]:
    """Turns an error of decompression into one with the last good place and a cure.

    Args:
        path: The file.
        place: Words where that is, behind a blank: ` after line 7`.

    Raises:
        DataError: The compressed data break.
    """
    broken: tuple[type[Exception], ...] = (gzip.BadGzipFile, EOFError, zlib.error)
    if path.suffix.lower() == ".zst":
        broken += zst_errors()
    try:
        yield
    except broken as error:
        kind = "gzip" if path.suffix.lower() == ".gz" else "zstd"
        raise DataError(
            f"{path}: the {kind} data break{place()} ({error})."
            f" The file is cut short or damaged: fetch it again, and check with `{kind} -t`."
        ) from error
