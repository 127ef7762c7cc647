"""The files between the tasks that read documents and those that compare them: shingles by shard.

A record is the number of the document in its task, its id and its shingles.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np

from roots.corpus.duplicates.shingles import Hashes

_HEAD = struct.Struct("<III")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document that may be a near duplicate.

    Args:
        number: Which document of its task it is, from 0.
        id: The document's.
        shingles: Its set: sorted, distinct, [S].
    """

    number: int
    id: str
    shingles: Hashes

    def write(self, file: IO[bytes]) -> None:
        """Appends it to a file."""
        name = self.id.encode("utf-8", "surrogatepass")
        file.write(_HEAD.pack(self.number, len(name), len(self.shingles)))
        file.write(name)
        file.write(self.shingles.astype("<u8").tobytes())


def candidates(file: IO[bytes]) -> Iterator[Candidate]:
    """Reads a file, in its order."""
    while head := file.read(_HEAD.size):
        number, n_bytes, n_shingles = _HEAD.unpack(head)
        name = file.read(n_bytes).decode("utf-8", "surrogatepass")
        yield Candidate(number, name, np.frombuffer(file.read(8 * n_shingles), "<u8"))


def numbers(file: IO[bytes]) -> Iterator[int]:
    """Reads the numbers alone."""
    while head := file.read(_HEAD.size):
        number, n_bytes, n_shingles = _HEAD.unpack(head)
        file.seek(n_bytes + 8 * n_shingles, 1)
        yield number
