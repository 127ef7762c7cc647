"""Which candidates share a bucket, by the pairs that datatrove's bucket step wrote.

Of documents with the same signature in a bucket it writes the neighbours: A-B, B-C. Such a chain is
a group, all of whose members are candidates of each other. datatrove's clusters are larger: they
join what is connected over several buckets, and so what no signature ever had in common.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from roots.corpus.duplicates.shingles import Hashes, spread
from roots.corpus.engines.engine_folder import EngineFolder

PAIRS_AT_ONCE = 2**20


def place_of(rank: int, numbers: NDArray[np.uint64]) -> Hashes:
    """Names documents over all tasks: task and number in one."""
    return numbers | np.uint64(rank << 32)


def write_keys(pairs: EngineFolder, places: Hashes, bands: int, folder: Path) -> list[Path]:
    """Writes a key per document and bucket, equal for the members of a group and for no others.

    Args:
        pairs: What datatrove's bucket step wrote.
        places: The documents, ascending, [N]; the members of a group are all in it, or none is.
        bands: Buckets.
        folder: Where to.

    Returns:
        A file per bucket, as `KeptDocuments` reads them.
    """
    names = pairs.names(".dups")
    paths = []
    for band in range(bands):
        keys = spread(np.arange(len(places), dtype=np.uint64), 0)
        next_group = len(places)
        for name in names:
            if name.startswith(f"{band:05d}_"):
                with pairs.open(name) as file:
                    next_group = _enter(file, places, keys, next_group)
        paths.append(folder / f"keys-{band:02d}")
        paths[-1].write_bytes(keys.tobytes())
    return paths


def _enter(file: IO[bytes], places: Hashes, keys: Hashes, next_group: int) -> int:
    """Sets the keys of all members of the groups in a file; gives the number of the next group."""
    last = None
    for first, second in _pairs(file):
        before = np.concatenate((second[:1] if last is None else last, second[:-1]))
        is_new = first != before  # no document is paired with itself
        groups = next_group - 1 + np.cumsum(is_new)
        members = np.concatenate((first[is_new], second))
        _set(keys, places, members, np.concatenate((groups[is_new], groups)).astype(np.uint64))
        next_group += int(is_new.sum())
        last = second[-1:]
    return next_group


def _pairs(file: IO[bytes]) -> Iterator[tuple[Hashes, Hashes]]:
    while raw := file.read(16 * PAIRS_AT_ONCE):
        table = np.frombuffer(raw, "<u4").reshape(-1, 4).astype(np.uint64)
        joined = (table[:, ::2] << np.uint64(32)) | table[:, 1::2]
        yield joined[:, 0], joined[:, 1]


def _set(keys: Hashes, places: Hashes, members: Hashes, groups: NDArray[np.uint64]) -> None:
    if len(places) == 0:
        return
    at = np.minimum(np.searchsorted(places, members), len(places) - 1)
    found = places[at] == members
    keys[at[found]] = spread(groups[found], 0)
