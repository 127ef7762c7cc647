"""What the engines say where theirs is not installed."""

from __future__ import annotations

import sys

import pytest

from roots.corpus import engines
from roots.errors import MissingExtra


def test_a_missing_datatrove_is_told_with_the_install_line(monkeypatch) -> None:
    for name in [each for each in sys.modules if each.split(".")[0] == "datatrove"]:
        monkeypatch.delitem(sys.modules, name)
    for name in [each for each in sys.modules if each.startswith("roots.corpus.engines.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "datatrove", None)
    with pytest.raises(MissingExtra, match=r"pip install 'roots-lm\[datatrove\]'"):
        engines.DatatroveStages
    assert engines.read_books.__name__ == "read_books"


def test_an_unknown_engine_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'DatatroveStagez'"):
        engines.DatatroveStagez
