"""The quality rules agree with datatrove's own classes on every document, reasons included."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from roots.corpus import C4Quality, FineWebQuality, GopherQuality, GopherRepetition, Stage
from roots.corpus.splitters import SPLITTERS
from roots.corpus.stages.sentences import sentences
from roots.records import Document, Drop, Edit

pytest.importorskip("datatrove", reason="datatrove is not installed (extra datatrove)")
sys.path.insert(0, str(Path(__file__).parents[1] / "corpus"))

from datatrove.data import Document as TheirDocument
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from quality_texts import edge_texts, made_texts, real_texts

PAIRS = {
    "gopher_quality": (GopherQuality, GopherQualityFilter, {}, {}),
    "gopher_repetition": (GopherRepetition, GopherRepetitionFilter, {}, {}),
    "c4_filters": (C4Quality, C4QualityFilter, {}, {}),
    "c4_filters of FineWeb": (
        C4Quality,
        C4QualityFilter,
        {"end_of_line": False},
        {"filter_no_terminal_punct": False},
    ),
    "fineweb_quality": (FineWebQuality, FineWebQualityFilter, {}, {}),
    "fineweb_quality without ends": (
        FineWebQuality,
        FineWebQualityFilter,
        {"without_any_end": True},
        {"line_punct_exclude_zero": True},
    ),
}
REASONS = {
    "gopher_quality": 10,  # all of them
    "gopher_repetition": 13,
    "c4_filters": 3,
    "fineweb_quality": 4,
}


def theirs(filter_: object, text: str) -> tuple[str, str]:
    """Asks datatrove: the reason of a drop, or nothing and what goes on."""
    document = TheirDocument(text=text, id="")
    answer = filter_.filter(document)
    if answer is True:
        return "", document.text
    assert answer[0] is False
    return answer[1], ""


def ours(stage: Stage, text: str) -> tuple[str, str]:
    document = Document(text, "")
    verdict = stage(document)
    if isinstance(verdict, Drop):
        return verdict.reason, ""
    return "", verdict.document.text if isinstance(verdict, Edit) else text


@pytest.mark.slow
@pytest.mark.parametrize("words", ["whitespace", "unicode"])
@pytest.mark.parametrize("name", PAIRS)
def test_every_document_has_the_same_fate(name, words, monkeypatch) -> None:
    kind, their_kind, settings, their_settings = PAIRS[name]
    module = f"datatrove.pipeline.filters.{their_kind.__module__.rpartition('.')[2]}"
    if hasattr(sys.modules[module], "split_into_words"):
        split = SPLITTERS[words]
        monkeypatch.setattr(f"{module}.split_into_words", lambda text, _: split(text))
        settings = {**settings, "words": words}
    else:
        monkeypatch.setattr(f"{module}.split_into_sentences", lambda text, _: sentences(text))
    stage, filter_ = kind(**settings), their_kind(**their_settings)
    seen: Counter[str] = Counter()
    for text in (*real_texts(), *edge_texts(), *made_texts(4000)):
        if text.isspace():
            continue
        found, expected = ours(stage, text), theirs(filter_, text)
        assert found == expected, f"{text[:300]!r} … ({len(text):,} characters)"
        seen[found[0]] += 1
    print(seen)
    assert seen[""] > 100
    if name in REASONS:
        assert len(seen) - 1 == REASONS[name], seen
