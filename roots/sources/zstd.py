"""The decompressed bytes of `.zst` files; needs zstandard, from the extra `corpus`."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from roots.errors import MissingExtra
from roots.sources.decoding import open_raw

_LARGEST_WINDOW = 2**31  # of `zstd --long=31`; by itself zstandard takes 2**27


def open_zst(path: Path) -> io.BufferedReader:
    """Opens a `.zst` file for reading.

    Raises:
        MissingExtra: zstandard is not installed.
    """
    if find_spec("zstandard") is None:
        raise MissingExtra(
            f"{path} needs zstandard, which is not installed. Install it: pip install"
            " 'roots-lm[corpus]' (pip install -e '.[corpus]' in a clone), or unpack the file:"
            f" zstd -d {path}."
        )
    return io.BufferedReader(_Zstd(path), 2**20)


def zst_errors() -> tuple[type[Exception], ...]:
    """Names what is raised where the data of such a file break; zstandard is installed."""
    import zstandard

    error: type[Exception] = zstandard.ZstdError
    return (error,)


class _Zstd(io.RawIOBase):
    """The decompressed bytes of a `.zst` file, whose frames may be several.

    zstandard's own reader ends without a word where a file was cut short.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        import zstandard

        self._frame = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW).decompressobj
        self._file = open_raw(path)
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
