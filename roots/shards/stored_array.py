"""StoredArray: values of a file in an object store, in the manner of a mapped array."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from roots.stores import BlockCache, StoredFile


class StoredArray:
    """Values of a stored file, which are fetched when they are looked at.

    Args:
        cache: Fetches and keeps blocks.
        file: The file.
        dtype: The type of a value, little-endian.
        offset: The byte at which the first value begins.
        length: How many values.
    """

    def __init__(
        self, cache: BlockCache, file: StoredFile, *, dtype: npt.DTypeLike, offset: int, length: int
    ) -> None:
        self.cache = cache
        self.file = file
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.offset = offset
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        """Gives a value, the values of a slice, or those at an array of places."""
        if isinstance(index, slice):
            start, stop, step = index.indices(self.length)
            if step != 1:
                return self[np.arange(start, stop, step)]
            return self._values(start, max(stop, start))
        if isinstance(index, np.ndarray):
            return self._gathered(index)
        place = operator.index(index)
        if not -self.length <= place < self.length:
            raise IndexError(f"value {place:,} of {self.file.url}, which has {self.length:,}")
        return self._values(place % self.length, place % self.length + 1)[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        del copy
        return np.array(self._values(0, self.length), dtype=dtype)

    def _values(self, start: int, stop: int) -> npt.NDArray[Any]:
        if start == stop:
            return np.empty(0, dtype=self.dtype)
        size = self.dtype.itemsize
        first, behind = self.offset + start * size, self.offset + stop * size
        return np.frombuffer(self.cache.read(self.file, first, behind), dtype=self.dtype)

    def _gathered(self, places: npt.NDArray[np.integer]) -> npt.NDArray[Any]:
        found = np.empty(places.shape, dtype=self.dtype)
        for number, place in np.ndenumerate(places):
            found[number] = self[int(place)]
        return found
