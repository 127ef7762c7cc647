"""Sums of the blocks of a file, beside it: a part that arrives wrong from a store is noticed.

    <file>.sums     magic      8 bytes   b"ROOTSUM1"
                    block      uint32    bytes of a block; the last may have fewer
                    sha256     32 bytes  of the whole file, as the manifest has it
                    sums       uint32[n] the CRC-32 of each block

All little-endian. The manifest does not know of them: they are made from files that it describes,
and a wrong sum can only refuse a right block.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from roots.errors import DataError
from roots.shards.layout import REBUILD
from roots.shards.manifest import FileRecord
from roots.stores import BLOCK_BYTES

_MAGIC = b"ROOTSUM1"
_HEADER = struct.Struct("<8sI32s")


def sums_of(path: Path) -> Path:
    """Names the file of the sums of a file."""
    return path.with_name(f"{path.name}.sums")


def write_sums(path: Path, record: FileRecord) -> Path:
    """Reads a file once and writes the sums of its blocks.

    Args:
        path: The file.
        record: What the manifest says of it.

    Raises:
        DataError: It is not what the manifest says.
    """
    whole = hashlib.sha256()
    sums = []
    for block in _blocks(path):
        whole.update(block)
        sums.append(zlib.crc32(block))
    if whole.hexdigest() != record.sha256:
        raise DataError(
            f"{path} was changed: its sha256 is {whole.hexdigest()}, expected {record.sha256}."
            f" {REBUILD}"
        )
    header = _HEADER.pack(_MAGIC, BLOCK_BYTES, whole.digest())
    temporary = path.with_name(f"{path.name}.sums.tmp-{os.getpid()}")
    temporary.write_bytes(header + np.array(sums, dtype="<u4").tobytes())
    return temporary.replace(sums_of(path))


class Sums:
    """The sums of the blocks of a file.

    Args:
        path: The file that they are of.
        record: What the manifest says of it.

    Raises:
        DataError: They are damaged, or of another file.
    """

    def __init__(self, path: Path, record: FileRecord) -> None:
        raw = sums_of(path).read_bytes()
        n_blocks = -(-record.size_bytes // BLOCK_BYTES)
        head = _HEADER.pack(_MAGIC, BLOCK_BYTES, bytes.fromhex(record.sha256))
        if not raw.startswith(head) or len(raw) != len(head) + 4 * n_blocks:
            raise DataError(
                f"{sums_of(path)} holds no sums of this {path.name}: it was changed, or its sums"
                " are those of an older one. Write them with `roots corpus sums FOLDER` and upload"
                " them again, or delete them."
            )
        self._sums = np.frombuffer(raw, dtype="<u4", offset=len(head))

    def of(self, number: int) -> int:
        """Gives the sum of a block."""
        return int(self._sums[number])

    def __call__(self, number: int, raw: bytes) -> str:
        """Says what is wrong with the bytes of a block; nothing where they are right."""
        found, expected = zlib.crc32(raw), self.of(number)
        if found == expected:
            return ""
        return f"block {number:,} has the sum {found:08x}, and {expected:08x} was written"


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(lambda: file.read(BLOCK_BYTES), b"")
