"""Words: what a word is, in scripts with and without spaces."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.corpus.duplicates import Words
from roots.corpus.duplicates.normal_form import normal_form
from roots.corpus.duplicates.words import _UNSPACED


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
    assert Words()(text) == [w.replace("οδος", "ΟΔΟΣ".lower()) for w in words]


@settings(deadline=None)
@given(st.text(st.one_of(st.characters(), st.sampled_from("aZ09_-. \n\x1c\u00a0\u2028漢ไéΣß"))))
def test_the_fast_ways_agree_with_the_expression(text: str) -> None:
    word = re.compile(rf"[^\W{_UNSPACED}]+|[\w{_UNSPACED}]")
    assert Words()(text) == word.findall(unicodedata.normalize("NFC", text).lower())


@settings(deadline=None)
@given(st.text())
def test_a_normal_form_is_its_own(text: str) -> None:
    once = normal_form(text, nfc=True, fold_case=True, collapse_space=True)
    assert normal_form(once, nfc=True, fold_case=True, collapse_space=True) == once


def test_each_part_of_the_normal_form_can_be_left_out() -> None:
    text = " Cafe\u0301 \n STRASSE "
    all_but = {
        "nfc": "cafe\u0301 strasse",
        "fold_case": "Caf\u00e9 STRASSE",
        "collapse_space": " caf\u00e9 \n strasse ",
    }
    for part, form in all_but.items():
        parts = dict.fromkeys(all_but, True) | {part: False}
        assert normal_form(text, **parts) == form
