"""The lines of a file, plain or compressed, each with its number and where it begins."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, cast

from roots.errors import DataError, MissingExtra
from roots.sources.decoding import MAX_DOCUMENT_BYTES

COMPRESSED = ("", ".gz", ".zst")
"""What may follow the ending of a file of lines."""

_PACKED = {".xz": "xz -d", ".bz2": "bzip2 -d", ".zip": "unzip"}
_CHECK = {".gz": "gzip -t", ".zst": "zstd -t"}


def lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Streams (number from 1, offset in the decompressed bytes, line with its end).

    Of a line above the limit of a document only so much comes that its length tells; the rest is
    passed over.

    Raises:
        DataError: The compressed data break: how much is lost then, nobody knows.
        MissingExtra: `.zst`, and the package that reads it is not installed.
    """
    number = offset = 0
    with open_bytes(path) as file, _told(path, lambda: number):
        for raw in iter(lambda: file.readline(MAX_DOCUMENT_BYTES + 1), b""):
            number += 1
            yield number, offset, raw
            offset += len(raw)
            if len(raw) > MAX_DOCUMENT_BYTES and not raw.endswith(b"\n"):
                offset += _pass_over(file)


def open_bytes(path: Path) -> BinaryIO:
    """Opens a file for reading, decompressed as its ending says.

    Raises:
        DataError: A compression that is not read.
        MissingExtra: The package that reads `.zst` is not installed.
    """
    if path.suffix in _PACKED:
        raise DataError(
            f"{path}: files that end in {path.suffix} are not read."
            f" Unpack it first: {_PACKED[path.suffix]} {path}."
        )
    if path.suffix == ".gz":
        return cast("BinaryIO", gzip.open(path, "rb"))
    if path.suffix == ".zst":
        return _open_zst(path)
    return path.open("rb")


def _open_zst(path: Path) -> io.BufferedReader:
    if find_spec("zstandard") is None:
        raise MissingExtra(
            f"{path} needs zstandard, which is not installed. Install it: pip install"
            " 'roots-lm[corpus]' (pip install -e '.[corpus]' in a clone), or unpack the file:"
            f" zstd -d {path}."
        )
    return io.BufferedReader(_Zstd(path), 2**20)


class _Zstd(io.RawIOBase):
    """The decompressed bytes of a `.zst` file, whose frames may be several.

    zstandard's own reader ends without a word where a file was cut short.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        import zstandard  # type: ignore[import-not-found,unused-ignore]

        self._frame = zstandard.ZstdDecompressor().decompressobj
        self._file = path.open("rb")
        self._now: Any = None
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer.

        Raises:
            EOFError: The file ends within a frame.
        """
        while not self._ready:
            raw = self._file.read(2**17)
            if not raw and self._now is not None:
                raise EOFError("the file ends within a frame")
            if not raw:
                return 0
            self._ready = memoryview(self._decompressed(raw))
        n_bytes = min(len(buffer), len(self._ready))
        buffer[:n_bytes] = self._ready[:n_bytes]
        self._ready = self._ready[n_bytes:]
        return n_bytes

    def _decompressed(self, raw: bytes) -> bytes:
        parts: list[bytes] = []
        while raw:
            self._now = self._now or self._frame()
            parts.append(self._now.decompress(raw))
            raw = self._now.unused_data if self._now.eof else b""
            self._now = None if self._now.eof else self._now
        return b"".join(parts)


def _pass_over(file: BinaryIO) -> int:
    """Reads up to and over the next newline; tells how many bytes."""
    n_bytes = 0
    for raw in iter(lambda: file.readline(2**20), b""):
        n_bytes += len(raw)
        if raw.endswith(b"\n"):
            break
    return n_bytes


@contextmanager
def _told(path: Path, number: Callable[[], int]) -> Iterator[None]:
    """Turns an error of decompression into one with the last good line and a cure."""
    broken: tuple[type[Exception], ...] = (gzip.BadGzipFile, EOFError, zlib.error)
    broken += _zst_errors(path)
    try:
        yield
    except broken as error:
        kind = "gzip" if path.suffix == ".gz" else "zstd"
        raise DataError(
            f"{path}: the {kind} data break after line {number():,} ({error}). The file is cut"
            f" short or damaged: fetch it again, and check with `{_CHECK[path.suffix]}`."
        ) from error


def _zst_errors(path: Path) -> tuple[type[Exception], ...]:
    if path.suffix != ".zst":
        return ()
    import zstandard

    error: type[Exception] = zstandard.ZstdError
    return (error,)
