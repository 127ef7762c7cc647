"""The kept documents that share a band with a document, and their shingles; all of it on disk.

A group has room for all of its members, of which those that turn out to be kept are entered as they
come.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roots.corpus.duplicates.groups import ALONE, Groups, made
from roots.corpus.duplicates.shingles import Hashes, jaccard
from roots.shards.hashed_file import HashedFile


class KeptDocuments:
    """Finds for a document the first kept one that is like it.

    Args:
        groups: Those of all documents.
        shingles: The file of the shingles of kept documents. What it holds already is of those that
            are entered `again`.
        folder: Where to note what is kept.
        threshold: The least Jaccard similarity, 0 to 1.
    """

    def __init__(
        self, *, groups: Groups, shingles: HashedFile, folder: Path, threshold: float
    ) -> None:
        self.threshold = threshold
        self._ends = groups.ends
        self._counts = np.zeros(len(groups.ends), np.int32)
        self._kept = made(folder / "kept", int(groups.ends[-1]))
        self._shingles = _Shingles(shingles, folder, len(groups.bands[0]))

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
        self._shingles.write(shingles)
        self.keep_again(number, groups, len(shingles))

    def keep_again(self, number: int, groups: NDArray[np.int64], n_shingles: int) -> None:
        """Enters a document whose shingles are the next in the file."""
        shared = np.unique(groups[groups != ALONE])
        self._kept[self._ends[shared - 1] + self._counts[shared]] = number
        self._counts[shared] += 1
        self._shingles.enter(number, n_shingles)

    def close(self) -> None:
        """Closes the file that shingles are read from."""
        self._shingles.close()

    def _candidates(self, groups: NDArray[np.int64], n_shingles: int) -> list[int]:
        """Lists the kept documents whose number of shingles allows the threshold, in order."""
        starts, counts = self._ends[groups - 1], self._counts[groups]
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


class _Shingles:
    """The shingles of kept documents, one after another in a file."""

    def __init__(self, file: HashedFile, folder: Path, n_documents: int) -> None:
        self.sizes = made(folder / "sizes", n_documents)
        self._places = made(folder / "places", n_documents)
        self._written = file
        self._read = file.path.open("rb", buffering=0)
        self._end = 0

    def write(self, shingles: Hashes) -> None:
        self._written.write(shingles.tobytes())

    def enter(self, number: int, n: int) -> None:
        self.sizes[number], self._places[number] = n, self._end
        self._end += n * 8

    def read(self, number: int) -> Hashes:
        self._written.flush()
        self._read.seek(int(self._places[number]))
        return np.frombuffer(self._read.read(int(self.sizes[number]) * 8), np.uint64)

    def close(self) -> None:
        self._read.close()
