"""Which keys occur more than once in a file larger than memory.

The file is read once per part of the key range; a part is sorted in memory. One part holds
`KEYS_AT_ONCE` keys on average, at about 60 bytes each while it is sorted: 1 GB. Only a single key
that fills a part by itself takes more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

KEYS_AT_ONCE = 2**24
_ROWS_READ = 2**20


@dataclass(frozen=True, slots=True)
class Equal:
    """The keys of one part that occur more than once.

    Args:
        keys: One row per key, ascending, [G, width].
        sizes: How often each occurs, [G].
        members: Their rows in the file, key by key, ascending within a key, [sum of sizes].
    """

    keys: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    members: NDArray[np.int64]


def equal_keys(path: Path, width: int = 1) -> Iterator[Equal]:
    """Finds the keys that occur more than once, part by part.

    Args:
        path: Rows of `width` 64-bit numbers, the first of them evenly spread.
        width: Numbers in a key.
    """
    rows = _rows(path, width)
    n_parts = -(-len(rows) // KEYS_AT_ONCE)
    for part in range(n_parts):
        yield _repeated(*_part(rows, part, n_parts))


def frequent_keys(
    path: Path, above: int, *, same_bits: int = 0
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Finds the keys that occur more than `above` times, ascending, and how often each does.

    Unlike `equal_keys` it does not grow with a key that fills the file.

    Args:
        path: 64-bit numbers, evenly spread behind their first bits.
        above: A number of times.
        same_bits: How many first bits all of them have in common, below 32.
    """
    rows = _rows(path, 1)
    keys, counts = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    n_parts = -(-len(rows) // KEYS_AT_ONCE)
    for part in range(n_parts):
        found, times = _counted(rows, part, n_parts, same_bits)
        keys.append(found[times > above])
        counts.append(times[times > above])
    return np.concatenate(keys), np.concatenate(counts)


def _rows(path: Path, width: int) -> NDArray[np.uint64]:
    """Maps the file, [rows, width]; an empty file cannot be mapped."""
    n_rows = path.stat().st_size // (8 * width)
    if n_rows == 0:
        return np.empty((0, width), np.uint64)
    return np.memmap(path, np.uint64, "r", shape=(n_rows, width))


def _counted(
    rows: NDArray[np.uint64], part: int, n_parts: int, same_bits: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Counts the keys of a part of the range, first in what is read at once, then over all."""
    inside = _inside(rows, part, n_parts, same_bits)
    read = [np.unique(keys[:, 0], return_counts=True) for keys, _ in inside]
    keys, places = np.unique(np.concatenate([found for found, _ in read]), return_inverse=True)
    counts = np.zeros(len(keys), np.int64)
    np.add.at(counts, places, np.concatenate([times for _, times in read]))
    return keys, counts


def _part(
    rows: NDArray[np.uint64], part: int, n_parts: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Collects the keys of a part of the range, and their rows."""
    keys, members = zip(*_inside(rows, part, n_parts), strict=True)
    return np.concatenate(keys), np.concatenate(members)


def _inside(
    rows: NDArray[np.uint64], part: int, n_parts: int, same_bits: int = 0
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.int64]]]:
    """Reads the file, and yields what is in a part of the range, with the rows."""
    for start in range(0, len(rows), _ROWS_READ):
        read = np.asarray(rows[start : start + _ROWS_READ])
        high = (read[:, 0] << np.uint64(same_bits)) >> np.uint64(32)
        found = np.flatnonzero((high * np.uint64(n_parts)) >> np.uint64(32) == part)
        yield read[found], found + start


def _repeated(keys: NDArray[np.uint64], members: NDArray[np.int64]) -> Equal:
    order = np.lexsort(keys.T[::-1])  # stable, so that members stay ascending within a key
    keys = keys[order]
    new = np.ones(len(keys), bool)
    new[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    starts = np.flatnonzero(new)
    sizes = np.diff(np.append(starts, len(keys)))
    several = sizes > 1
    return Equal(
        keys=keys[starts[several]],
        sizes=sizes[several],
        members=members[order[np.repeat(several, sizes)]],
    )
