"""Which documents share a key in a band: they form a group."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from roots.corpus.duplicates.equal_keys import equal_keys
from roots.corpus.noted_parts import Parts

ALONE = 0
"""The group of a document whose key in a band is its own."""
ENDS = "ends"
"""The file that the step adds to."""


@dataclass(frozen=True)
class Groups:
    """The groups of all documents.

    Args:
        bands: The number of each document's group, a mapped file [documents] per band.
        ends: Where the room of each group ends when all follow each other, [1 + groups].
    """

    bands: list[NDArray[np.int64]]
    ends: NDArray[np.int64]

    def of(self, start: int, stop: int) -> NDArray[np.int64]:
        """Reads the groups of documents: [stop - start, bands], `ALONE` where there is none."""
        return np.stack([band[start:stop] for band in self.bands], axis=1)


def number_groups(keys: Sequence[Path], parts: Parts) -> Groups:
    """Replaces equal keys by the number of their group, band by band.

    Args:
        keys: A file per band, with the key of each document; deleted as soon as it is read.
        parts: Of this step, a part per band; keys of bands that are there are not needed.
    """
    ends = parts.files[0]
    if not parts.n:
        ends.write(np.int64(0).tobytes())  # of ALONE, which has no room
    paths = [parts.folder / f"groups-{band:02d}" for band in range(len(keys))]
    for band, path in enumerate(paths):
        if band >= parts.n:
            _number_band(keys[band], path, parts)
        keys[band].unlink(missing_ok=True)
    ends.flush()
    return Groups([_mapped(path) for path in paths], np.fromfile(ends.path, np.int64))


def _number_band(keys: Path, path: Path, parts: Parts) -> None:
    groups = made(path, keys.stat().st_size // 8)
    next_group, room = parts.noted.get("next", ALONE + 1), parts.noted.get("room", 0)
    for equal in equal_keys(keys):
        numbers = np.arange(next_group, next_group + len(equal.sizes))
        groups[equal.members] = np.repeat(numbers, equal.sizes)
        parts.files[0].write((room + np.cumsum(equal.sizes)).astype(np.int64).tobytes())
        next_group += len(equal.sizes)
        room += int(equal.sizes.sum())
    parts.note(path, next=next_group, room=room)


def made(path: Path, n: int) -> NDArray[np.int64]:
    """Makes a file of `n` zeros, as an array.

    Its place on the disk is taken at once: where there is none for a page of a mapped file, the
    process would be killed (SIGBUS) without a word.

    Raises:
        OSError: The disk is full.
    """
    with path.open("wb") as file:
        if n and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, 8 * n)
        else:
            file.truncate(8 * n)
    return _mapped(path, "r+")


def _mapped(path: Path, mode: Literal["r", "r+"] = "r") -> NDArray[np.int64]:
    """Maps a file; an empty one cannot be mapped."""
    if path.stat().st_size == 0:
        return np.zeros(0, np.int64)
    return np.asarray(np.memmap(path, np.int64, mode))
