"""RangeFile: a stored file, read by ranges that are checked and tried again."""

from __future__ import annotations

import io
import os
from typing import Any

from roots.errors import DataError
from roots.runs import redact
from roots.stores.asking import fetch, look_at
from roots.stores.patience import Patience

READ_BYTES = 4 * 2**20
"""Bytes of one request where a file is read from front to back."""


class RangeFile(io.RawIOBase):
    """The bytes of a stored file; each read is one request.

    Args:
        url: The file.
        patience: How often a request is tried.

    Raises:
        DataError: It does not exist, or its store does not answer.
    """

    def __init__(self, url: str, patience: Patience) -> None:
        seen = look_at(url, patience)
        if seen is None:
            raise DataError(f"{redact(url)} does not exist. Correct the URL, or upload the file.")
        self.url = url
        self.patience = patience
        self.size = seen.size
        self._at = 0

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def seekable(self) -> bool:
        """Whether it can be read anywhere: always."""
        return True

    def tell(self) -> int:
        """Gives the byte that is read next."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Goes to a byte."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readall(self) -> bytes:
        """Reads the rest."""
        return b"".join(iter(lambda: self._fetched(READ_BYTES), b""))

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer, or its beginning."""
        raw = self._fetched(min(len(buffer), READ_BYTES))
        buffer[: len(raw)] = raw
        return len(raw)

    def _fetched(self, n_bytes: int) -> bytes:
        stop = min(self._at + n_bytes, self.size)
        if stop <= self._at:
            return b""
        raw = fetch(self.url, self._at, stop, self.patience)
        self._at = stop
        return raw
