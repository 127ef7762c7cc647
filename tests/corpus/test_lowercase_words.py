"""lowercase_words: what a word is, in scripts with and without spaces."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.corpus.lowercase_words import _UNSPACED, lowercase_words
from roots.corpus.splitters import splitter_named


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, World -- it's 3.5!", ["hello", "world", "it", "s", "3", "5"]),
        ("def __main__(x): return x_1", ["def", "__main__", "x", "return", "x_1"]),
        ("Größe “naïve” ΟΔΟΣ", ["größe", "naïve", "οδος"]),
        ("cafe\u0301", ["caf\u00e9"]),
        ("根在土里, roots2根", ["根", "在", "土", "里", "roots2", "根"]),
        (" \n\t… -- ", []),
        ("half \ud800 pair", ["half", "pair"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert lowercase_words(text) == [w.replace("οδος", "ΟΔΟΣ".lower()) for w in words]


@settings(deadline=None)
@given(st.text(st.one_of(st.characters(), st.sampled_from("aZ09_-. \n\x1c\u00a0\u2028漢ไéΣß"))))
def test_the_fast_ways_agree_with_the_expression(text: str) -> None:
    word = re.compile(rf"[^\W{_UNSPACED}]+|[\w{_UNSPACED}]")
    assert lowercase_words(text) == word.findall(unicodedata.normalize("NFC", text).lower())


def test_it_is_found_by_its_name() -> None:
    assert splitter_named("lowercase") is lowercase_words
