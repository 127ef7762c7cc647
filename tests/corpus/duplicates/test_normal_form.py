"""What counts as the same text."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from roots.corpus.duplicates.normal_form import normal_form


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
