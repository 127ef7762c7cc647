"""The pieces that a unigram model starts from: what stands often in the words of a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

_CODE_POINTS = 0x110000
MOST_CHARACTERS = 16
"""Of a piece."""


def frequent_parts(words: Mapping[str, int], min_frequency: int, most: int) -> dict[bytes, int]:
    """Finds the parts of words that cover most of the text: frequency times length in bytes.

    A part that always goes on with the same character is left out for the longer one. Parts are of
    whole characters; those of one ASCII character are left to the caller, who has all bytes.

    Args:
        words: How often each stands in the text.
        min_frequency: How often a part must stand in it.
        most: How many to give at most.

    Returns:
        How many bytes each covers, in UTF-8, the most covering one first; the order of ties is
        decided by the words alone.
    """
    found: dict[bytes, int] = {}
    for text, frequency in _parts(words, min_frequency):
        raw = text.encode()
        if len(raw) > 1:
            found[raw] = frequency * len(raw)
    first = sorted(found, key=lambda raw: (-found[raw], raw))[:most]
    return {raw: found[raw] for raw in first}


def _parts(words: Mapping[str, int], min_frequency: int) -> Iterator[tuple[str, int]]:
    """Gives parts with their frequencies, the short ones first."""
    text = "".join(words)
    flat = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.int64)
    lengths = np.array([len(word) for word in words], np.int64)
    ends = np.repeat(np.cumsum(lengths), lengths)
    counts = np.repeat(np.fromiter(words.values(), np.int64, len(words)), lengths)
    places = np.arange(len(flat))
    same = np.zeros(len(flat), np.int64)  # equal numbers for equal parts
    parts = _Parts(np.empty(0, np.int64), np.empty(0, np.int64))
    for length in range(1, MOST_CHARACTERS + 1):
        keys = same * _CODE_POINTS + flat[places + length - 1]
        kinds, first, same = np.unique(keys, return_index=True, return_inverse=True)
        frequencies = np.zeros(len(kinds), np.int64)
        np.add.at(frequencies, same, counts[places])
        # what goes on in one way only is left out, but for single characters
        longest = np.zeros(len(parts.places), np.int64)
        if length > 1:
            np.maximum.at(longest, kinds // _CODE_POINTS, frequencies)
        yield from parts.texts(text, length - 1, min_frequency, longest if length > 2 else None)
        parts = _Parts(places[first], frequencies)
        on = (frequencies[same] >= min_frequency) & (places + length < ends[places])
        places, same = places[on], same[on]
    yield from parts.texts(text, MOST_CHARACTERS, min_frequency, None)


class _Parts:
    """Parts of one length, by a place where each stands."""

    def __init__(self, places: npt.NDArray[np.int64], frequencies: npt.NDArray[np.int64]) -> None:
        self.places = places
        self.frequencies = frequencies

    def texts(
        self, text: str, length: int, least: int, longest: npt.NDArray[np.int64] | None
    ) -> Iterator[tuple[str, int]]:
        kept = self.frequencies >= least
        if longest is not None:
            kept &= longest < self.frequencies
        found = zip(self.places[kept].tolist(), self.frequencies[kept].tolist(), strict=True)
        for place, frequency in found:
            yield text[place : place + length], frequency
