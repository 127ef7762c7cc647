"""Sentences that are divided into words, and the token of a row that stands for each word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_OPENING = "([{<\"'“”‘’«»„‚¿¡"
_CLOSING = ")]}>\"'“”‘’«»,;:.!?…"
_LUMP = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Sentence:
    """Words in a row of tokens.

    Args:
        words: The words.
        places: The token that begins each word; `UNREAD` for a word that has none in the row.
        tags: The number of each word's tag; empty where they are not known.
        text: The text that the words are from; empty where they came as words.
        spans: Which characters of the text each word is, from and to; empty without a text.
    """

    words: Sequence[str]
    places: Sequence[int]
    tags: Sequence[int] = ()
    text: str = ""
    spans: Sequence[tuple[int, int]] = ()


UNREAD = -1
"""The place of a word of which the network sees no token: dropped by the tokenizer, or cut off."""


def first_tokens(word_ids: Sequence[int | None], n_words: int) -> list[int]:
    """Finds the token that begins each word.

    Args:
        word_ids: Which word each token belongs to; None for a special token.
        n_words: Words of the sentence.

    Returns:
        One place for each word, `UNREAD` where no token belongs to it.
    """
    places = [UNREAD] * n_words
    for place, word in enumerate(word_ids):
        if word is not None and places[word] == UNREAD:
            places[word] = place
    return places


def words_of(text: str) -> list[tuple[str, int, int]]:
    """Divides a text into words as corpora of tagged words mostly do.

    At white space; brackets, quotes and points around a word are words of their own, and what is
    inside one (`don't`, `@user`, an address) stays together. For a corpus that is divided
    by other rules, divide texts by these before you ask for tags.

    Returns:
        Each word, and its characters from and to.
    """
    found = []
    for lump in _LUMP.finditer(text):
        start, end = lump.span()
        first, last = start, end
        while first < last and text[first] in _OPENING:
            first += 1
        while last > first and text[last - 1] in _CLOSING:
            last -= 1
        spans = [(n, n + 1) for n in range(start, first)]
        spans += [(first, last)] if first < last else []
        spans += [(n, n + 1) for n in range(last, end)]
        found += [(text[a:b], a, b) for a, b in spans]
    return found
