"""Normalise: equal texts become equal characters, nothing visible is lost, twice is once."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roots.corpus import Normalise
from roots.errors import ConfigError, MissingExtra
from roots.records import KEEP, Document, Edit

SETTINGS = st.fixed_dictionaries(
    {
        "form": st.sampled_from(["NFC", "NFKC", "none"]),
        "control_characters": st.booleans(),
        "white_space": st.sampled_from(["keep", "lines", "collapse"]),
    }
)
TEXT = st.text(
    st.sampled_from("ab e\u0301é \t\n\r\f\v\x00\x1c\x85\u00a0\u2028\ufeffﬁ根"), max_size=30
)


def normalised(text: str, **settings) -> str:
    verdict = Normalise(**settings)(Document(text, "1"))
    return verdict.document.text if isinstance(verdict, Edit) else text


@pytest.mark.parametrize(
    ("settings", "before", "after"),
    [
        ({}, "cafe\u0301", "café"),
        ({}, "ﬁ x²", "ﬁ x²"),
        ({"form": "NFKC"}, "ﬁ x² Ａ", "fi x2 A"),
        ({"form": "none"}, "cafe\u0301", "cafe\u0301"),
        ({}, "a\r\nb\rc\u2028d\fe", "a\nb\nc\nd\ne"),
        ({}, "\ufeffa\x00b\x1b[0m\x9f", "ab[0m"),
        ({"control_characters": False}, "a\x00b", "a\x00b"),
        ({}, "if x:   \n\ty = 1\n\n\n\n\nz  ", "if x:\n\ty = 1\n\nz"),
        ({}, "\n \n  a\n", "  a\n"),
        ({"white_space": "collapse"}, " a\t b\u00a0c \n   d\n\n\n", "a b c\nd"),
        ({"white_space": "keep"}, "a  \n\n\n\nb ", "a  \n\n\n\nb "),
        ({"mojibake": True}, "schÃ¶n", "schön"),
    ],
)
def test_what_a_text_becomes(settings, before, after) -> None:
    if settings.get("mojibake"):
        pytest.importorskip("ftfy", reason="needs the extra `corpus`")
    assert normalised(before, **settings) == after


@given(TEXT, SETTINGS)
def test_twice_is_once_and_what_is_visible_stays(text, settings) -> None:
    once = normalised(text, **settings)
    assert Normalise(**settings)(Document(once, "1")) == KEEP
    form = settings["form"]

    def visible(some: str) -> str:
        kept = "".join(c for c in some if not c.isspace() and unicodedata.category(c) != "Cc")
        kept = kept.replace("\ufeff", "")
        return kept if form == "none" else unicodedata.normalize(form, kept)

    if settings["white_space"] != "collapse":  # else a letter may meet the accent of another line
        assert visible(once) == visible(text)


def test_each_change_is_counted_once_per_document() -> None:
    verdict = Normalise()(Document("e\u0301 \n\x00\x00\r\n", "1"))
    assert isinstance(verdict, Edit)
    assert verdict.counts == {
        "line_ends": 1,
        "control_characters": 1,
        "unicode_form": 1,
        "white_space": 1,
    }


def test_a_text_in_form_is_kept_as_the_same_object() -> None:
    assert Normalise()(Document("def f():\n    return 1\n", "1")) is KEEP


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"form": "NFX"}, "form='NFX' is none of NFC, NFKC, none"),
        ({"white_space": "all"}, "white_space='all' is none of keep, lines, collapse"),
    ],
)
def test_a_setting_that_does_not_exist_is_refused(settings, words) -> None:
    with pytest.raises(ConfigError, match=words):
        Normalise(**settings)


def test_mojibake_without_ftfy_names_the_extra_and_the_cure_works(monkeypatch) -> None:
    monkeypatch.setattr("roots.corpus.stages.normalise.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"roots-lm\[corpus\].*mojibake to false"):
        Normalise(mojibake=True).check()
    Normalise(mojibake=False).check()
