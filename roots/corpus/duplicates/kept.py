"""The kept documents that share a band with a document, and their shingles; all of it on disk.

Documents with an equal key in a band form a group. A group has room for all of its members, of
which those that turn out to be kept are entered as they come.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roots.corpus.duplicates.equal_keys import equal_keys
from roots.corpus.duplicates.shingles import Hashes, jaccard

ALONE = 0
"""The group of a document whose key in a band is its own."""


class KeptDocuments:
    """Finds for a document the first kept one that is like it.

    Args:
        keys: A file per band, with the key of each document; deleted as soon as they are read.
        folder: Where to keep groups and shingles.
        threshold: The least Jaccard similarity, 0 to 1.
    """

    def __init__(self, *, keys: Sequence[Path], folder: Path, threshold: float) -> None:
        self.threshold = threshold
        self._groups = _number_groups(keys, folder)
        n_documents = len(self._groups[0])
        starts = np.fromfile(folder / "starts", np.int64)
        self._starts = starts[:-1]
        self._counts = np.zeros(len(starts) - 1, np.int32)
        self._kept = _made(folder / "kept", int(starts[-1]))
        self._shingles = _Shingles(folder, n_documents)

    def groups(self, start: int, stop: int) -> NDArray[np.int64]:
        """Reads the groups of documents: [stop - start, bands], `ALONE` where there is none."""
        return np.stack([band[start:stop] for band in self._groups], axis=1)

    def match(self, groups: NDArray[np.int64], shingles: Hashes) -> tuple[int, float] | None:
        """Finds the first kept document of these groups that reaches the threshold.

        Args:
            groups: The groups of the document, [bands].
            shingles: Its shingles.

        Returns:
            Its number and the exact Jaccard similarity; None when there is none.
        """
        for number in self._candidates(groups, len(shingles)):
            similarity = jaccard(shingles, self._shingles.read(number))
            if similarity >= self.threshold:
                return number, similarity
        return None

    def keep(self, number: int, groups: NDArray[np.int64], shingles: Hashes) -> None:
        """Enters a document that is kept."""
        shared = np.unique(groups[groups != ALONE])
        self._kept[self._starts[shared] + self._counts[shared]] = number
        self._counts[shared] += 1
        self._shingles.write(number, shingles)

    def close(self) -> None:
        """Closes the file of shingles."""
        self._shingles.close()

    def _candidates(self, groups: NDArray[np.int64], n_shingles: int) -> list[int]:
        """Lists the kept documents whose number of shingles allows the threshold, in order."""
        starts, counts = self._starts[groups], self._counts[groups]
        found = [
            self._kept[start : start + count]
            for start, count in zip(starts.tolist(), counts.tolist(), strict=True)
            if count
        ]
        if not found:
            return []
        numbers = np.unique(np.concatenate(found))
        sizes = self._shingles.sizes[numbers]
        most = np.minimum(sizes, n_shingles) / np.maximum(np.maximum(sizes, n_shingles), 1)
        possible: list[int] = numbers[most >= self.threshold].tolist()
        return possible


def _number_groups(keys: Sequence[Path], folder: Path) -> list[NDArray[np.int64]]:
    """Replaces equal keys by the number of their group, and writes where each group's room is."""
    next_group, room = ALONE + 1, 0
    numbered = []
    with (folder / "starts").open("wb") as starts:
        starts.write(np.int64(0).tobytes())  # of ALONE, which has no room
        for band, path in enumerate(keys):
            groups = _made(folder / f"groups-{band:02d}", path.stat().st_size // 8)
            for equal in equal_keys(path):
                numbers = np.arange(next_group, next_group + len(equal.sizes))
                groups[equal.members] = np.repeat(numbers, equal.sizes)
                ends = room + np.cumsum(equal.sizes)
                starts.write((ends - equal.sizes).astype(np.int64).tobytes())
                next_group += len(equal.sizes)
                room += int(equal.sizes.sum())
            path.unlink()
            numbered.append(groups)
        starts.write(np.int64(room).tobytes())
    return numbered


class _Shingles:
    """The shingles of kept documents, one after another in a file."""

    def __init__(self, folder: Path, n_documents: int) -> None:
        self.sizes = _made(folder / "sizes", n_documents)
        self._places = _made(folder / "places", n_documents)
        self._file = (folder / "shingles").open("w+b", buffering=0)
        self._end = 0

    def write(self, number: int, shingles: Hashes) -> None:
        self._file.seek(self._end)
        self._file.write(shingles.tobytes())
        self.sizes[number], self._places[number] = len(shingles), self._end
        self._end += shingles.nbytes

    def read(self, number: int) -> Hashes:
        self._file.seek(int(self._places[number]))
        return np.frombuffer(self._file.read(int(self.sizes[number]) * 8), np.uint64)

    def close(self) -> None:
        self._file.close()


def _made(path: Path, n: int) -> NDArray[np.int64]:
    """Makes a file of `n` zeros, as an array."""
    if n == 0:
        return np.zeros(0, np.int64)
    return np.asarray(np.memmap(path, np.int64, "w+", shape=n))
