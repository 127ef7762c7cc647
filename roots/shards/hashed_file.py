"""HashedFile: a file written from beginning to end, whose sha256 is known all the while."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from roots.errors import DataError
from roots.shards.manifest import FileRecord

_READ = 2**20


class HashedFile:
    """Writes a file, and hashes what it writes.

    Args:
        path: The file.
        after: What it holds already; what stands behind that is cut off. Without it the file is
            made anew.

    Raises:
        DataError: The file does not begin with what `after` says.
    """

    def __init__(self, path: Path, *, after: FileRecord | None = None) -> None:
        self.path = path
        self.n_bytes = 0 if after is None else after.size_bytes
        self._sha256 = hashlib.sha256() if after is None else hash_of_beginning(path, after)
        self._file: BinaryIO = path.open("wb" if after is None else "r+b")
        self._file.seek(self.n_bytes)
        self._file.truncate()

    def write(self, raw: bytes) -> None:
        """Appends bytes."""
        self._sha256.update(raw)
        self._file.write(raw)
        self.n_bytes += len(raw)

    def flush(self) -> None:
        """Hands all to the operating system, so that others can read it."""
        self._file.flush()

    def record(self, name: str) -> FileRecord:
        """Hands all to the operating system, and tells what the file holds so far."""
        self._file.flush()
        return FileRecord(name=name, size_bytes=self.n_bytes, sha256=self._sha256.hexdigest())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def hash_of_beginning(path: Path, record: FileRecord) -> hashlib._Hash:
    """Hashes as much of a file as the record tells of.

    Raises:
        DataError: It is missing, shorter, or holds other bytes.
    """
    sha256, left = hashlib.sha256(), record.size_bytes
    if not path.is_file() or path.stat().st_size < left:
        found = f"{path.stat().st_size:,}" if path.is_file() else "no"
        raise DataError(f"{path} has {found} bytes, expected {left:,}. Delete it.")
    with path.open("rb") as file:
        while left and (raw := file.read(min(left, _READ))):
            sha256.update(raw)
            left -= len(raw)
    if sha256.hexdigest() != record.sha256:
        raise DataError(
            f"The first {record.size_bytes:,} bytes of {path} have the sha256 {sha256.hexdigest()},"
            f" expected {record.sha256}. Delete it."
        )
    return sha256


def n_whole(path: Path, records: Sequence[FileRecord]) -> int:
    """Counts how many records a file fulfils, up to the first that it does not, reading it once.

    Args:
        path: The file; one that is missing fulfils none.
        records: What its beginning held from time to time, ascending in size.
    """
    if not path.is_file():
        return 0
    sha256, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        for number, record in enumerate(records):
            while done < record.size_bytes:
                raw = file.read(min(record.size_bytes - done, _READ))
                if not raw:
                    return number
                sha256.update(raw)
                done += len(raw)
            if done != record.size_bytes or sha256.hexdigest() != record.sha256:
                return number
    return len(records)
