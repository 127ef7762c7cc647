"""The words of a text: split once, and shared by all stages that count them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from roots.corpus.splitters import splitter_named
from roots.corpus.stages.punctuation import PUNCTUATION

SYMBOL_FREE, ALPHABETIC = 1, 2
_MEMO_WORDS = 2**17
_MEMO_LENGTH = 40


class Words:
    """The words of one text and what the rules ask of them.

    Args:
        text: The text.
        words: Its words, (W,).
    """

    def __init__(self, text: str, words: list[str]) -> None:
        self.text = text
        self.words = words

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Characters of each word, (W,)."""
        return np.fromiter(map(len, self.words), np.int64, len(self.words))

    @cached_property
    def ends(self) -> npt.NDArray[np.int64]:
        """Where each word begins when all are joined without spaces, and the end, (W + 1,)."""
        ends = np.zeros(len(self.words) + 1, np.int64)
        np.cumsum(self.lengths, out=ends[1:])
        return ends

    @cached_property
    def flags(self) -> npt.NDArray[np.uint8]:
        """Of each word whether it is SYMBOL_FREE and whether ALPHABETIC, (W,)."""
        if len(_KINDS) > _MEMO_WORDS:
            _KINDS.clear()
        return np.fromiter(map(_KINDS.__getitem__, self.words), np.uint8, len(self.words))

    @cached_property
    def ids(self) -> npt.NDArray[np.int64]:
        """A number for each word, equal for equal words, from 0 without a gap, (W,)."""
        first = dict.fromkeys(self.words)
        numbers = dict(zip(first, range(len(first)), strict=True))
        return np.fromiter(map(numbers.__getitem__, self.words), np.int64, len(self.words))


class _Kinds(dict[str, int]):
    """Remembers the flags of words, because most words of a text were in the texts before it."""

    def __missing__(self, word: str) -> int:
        if word.isascii() and word.isalpha():
            flags = SYMBOL_FREE | ALPHABETIC
        else:
            flags = SYMBOL_FREE * (not PUNCTUATION.issuperset(word))
            flags |= ALPHABETIC * any(map(str.isalpha, word))
        if len(word) <= _MEMO_LENGTH:
            self[word] = flags
        return flags


_KINDS = _Kinds()
_latest: tuple[str, str, Words] = ("", "", Words("", []))


def words_of(text: str, splitter: str) -> Words:
    """Splits a text; asked for the same text again, by another stage, gives the same object."""
    global _latest  # noqa: PLW0603 - the one text that the stages of a process are at
    latest_text, latest_splitter, words = _latest
    if latest_text is text and latest_splitter == splitter:
        return words
    words = Words(text, splitter_named(splitter)(text))
    _latest = (text, splitter, words)
    return words
