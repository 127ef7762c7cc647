"""lowercase_words: what a word is, in scripts with and without spaces."""

from __future__ import annotations

import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.corpus import NearDuplicates
from roots.corpus import lowercase_words as module
from roots.corpus.lowercase_words import _UNSPACED, lowercase_words
from roots.corpus.splitters import splitter_named
from roots.records import Document, Drop


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
        ("नई दिल्ली है।", ["नई", "दिल्ली", "है"]),
        ("שָׁלוֹם מُحَمَّد", ["שָׁלוֹם", "מُحَمَّد"]),
        ("İstanbul", ["i\u0307stanbul"]),
        ("\u0301 ❤\ufe0f 根\U000e0100", ["根"]),  # marks of no letter
        ("ที่", ["ท", "ี", "่"]),
        ("\U00011103\U00011127\U0001112d", ["\U00011103\U00011127\U0001112d"]),  # Chakma
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert lowercase_words(text) == [w.replace("οδος", "ΟΔΟΣ".lower()) for w in words]


TEXTS = st.text(
    st.characters() | st.sampled_from("aZ09_-.'’ \n\x1c\u00a0\u2028漢ไ\u0e35éΣßहि्ַُّ\u0301\ufe0f")
)


def is_mark(sign: str) -> bool:
    return unicodedata.category(sign)[0] == "M" and sign < "\U00020000"


def runs(text: str, alone: Callable[[str], bool]) -> Iterator[str]:
    """By definition: letters, digits and `_` with the marks behind them; `alone` ones by one."""
    run = ""
    for sign in text:
        if alone(sign) or not (sign.isalnum() or sign == "_" or (run and is_mark(sign))):
            yield from (run, sign)
            run = ""
        else:
            run += sign
    yield run


@settings(deadline=None)
@given(TEXTS)
def test_the_fast_ways_agree_with_the_definition(text: str) -> None:
    unspaced = re.compile(f"[{_UNSPACED}]").match
    found = runs(unicodedata.normalize("NFC", text).lower(), lambda sign: bool(unspaced(sign)))
    words = [w for w in found if w and (w[0].isalnum() or w[0] == "_" or unspaced(w))]
    assert lowercase_words(text) == words


@settings(deadline=None)
@given(TEXTS.map(lambda text: text.replace("'", "").replace("’", "")))
def test_marks_belong_to_the_words_of_unicode_too(text: str) -> None:
    words = [word for word in runs(text, lambda _: False) if word and not word.isspace()]
    assert splitter_named("unicode")(text) == words


def test_unicode_takes_apostrophes_within_words() -> None:
    text = "l’हिन्दी d'eau' 'tis"
    assert splitter_named("unicode")(text) == ["l’हिन्दी", "d'eau", "'", "'", "tis"]


def test_texts_that_differ_in_vowel_signs_are_no_duplicates(tmp_path: Path) -> None:
    one = "राम ने सीता को किताब दी और फिर वह घर चला गया मोहन की माता बाजार से फल लाई थी"
    other = re.sub("[िीेोुू]", "ा", one)
    documents = [Document(one, "1"), Document(other, "2"), Document(one + "।", "3")]
    near = NearDuplicates(threshold=0.9)
    verdicts = list(near.decide(lambda: iter(documents), tmp_path))
    assert [isinstance(verdict, Drop) for verdict in verdicts] == [False, False, True]


def test_it_is_importable_without_roots() -> None:
    code = f"import runpy; print(runpy.run_path({module.__file__!r})['lowercase_words']('Ab-C'))"
    said = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, check=True)
    assert said.stdout.split() == [b"['ab',", b"'c']"]


def test_it_is_found_by_its_name() -> None:
    assert splitter_named("lowercase") is lowercase_words
