"""What the quality rules count: repeated parts, n-grams, words and sentences."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quality_texts import edge_texts, made_texts

from roots.corpus import GopherRepetition
from roots.corpus.splitters import SPLITTERS
from roots.corpus.stages import repeats as repeats_module
from roots.corpus.stages.repeats import Repeats, repeated, top_characters
from roots.corpus.stages.sentences import sentences
from roots.corpus.stages.words import Words
from roots.records import Document

WORDS = st.lists(
    st.sampled_from(["a", "b", "ab", "ba", "aab", "根", "\x00"]), min_size=1, max_size=60
)


def defined_top(words: list[str], n: int) -> int:
    counts = Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
    gram, count = counts.most_common(1)[0]
    return len(gram) * count


def defined_repeats(words: list[str], n: int) -> int:
    met, found, at = set(), 0, 0
    while at + n <= len(words):
        gram = "".join(words[at : at + n])
        found, at = (found + len(gram), at + n) if gram in met else (found, at + 1)
        met.add(gram)
    return found


@settings(max_examples=300, deadline=None)
@given(WORDS, st.integers(2, 7))
def test_n_grams_are_counted_as_the_definition_says(words, n) -> None:
    text = " ".join(words)
    if len(words) >= n:
        assert top_characters(Words(text, words), n) == defined_top(words, n)
    exact = defined_repeats(words, n) / len(text)
    assert Repeats(Words(text, words)).above(n, -1) == (exact if len(words) >= n else None)
    for limit in (0.0, exact, exact * 0.999, 0.5):
        found = Repeats(Words(text, words)).above(n, limit)
        assert found == (exact if exact > limit else None)


@pytest.mark.parametrize(("name", "value"), [("_LARGEST_HASHED", 10), ("_LARGEST_KEY", 50)])
def test_long_texts_and_large_vocabularies_give_the_same_answers(name, value, monkeypatch) -> None:
    stage = GopherRepetition()
    texts = [*edge_texts(), *made_texts(300, seed=2)]
    expected = [stage(Document(text, "1")) for text in texts]
    repeats_module._powers.cache_clear()
    monkeypatch.setattr(repeats_module, name, value)
    try:
        assert [stage(Document(text, "1")) for text in texts] == expected
    finally:
        repeats_module._powers.cache_clear()


def test_equal_numbers_of_different_n_grams_change_nothing(monkeypatch) -> None:
    """With a base of 1 the number of an n-gram is the sum of its characters."""
    texts = list(made_texts(300, seed=3))
    stage = GopherRepetition()
    expected = [stage(Document(text, "1")) for text in texts]
    repeats_module._powers.cache_clear()
    monkeypatch.setattr(repeats_module, "_BASE", 1)
    try:
        assert [stage(Document(text, "1")) for text in texts] == expected
    finally:
        repeats_module._powers.cache_clear()


@given(st.lists(st.text("ab", max_size=3), max_size=20))
def test_repeated_parts_are_all_but_the_first(parts) -> None:
    again = [part for i, part in enumerate(parts) if part in parts[:i]]
    assert repeated(parts) == (len(again), sum(map(len, again)))


@pytest.mark.parametrize(
    ("splitter", "words"),
    [
        ("whitespace", ["Don't", "(see", "3.5", "below)."]),
        ("unicode", ["Don't", "(", "see", "3", ".", "5", "below", ")", "."]),
    ],
)
def test_what_a_word_is_decides_the_splitter(splitter, words) -> None:
    assert SPLITTERS[splitter]("Don't (see\n3.5 below).") == words


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("One. Two! Three? Four", 4),
        ('He said "No." Then 1.2 of it...', 2),
        ("根本。文章！", 2),
        ("no end", 1),
        ("Wait... (Really?) Yes.", 3),
        (" ", 0),
        ("...", 1),
    ],
)
def test_sentences(text, n) -> None:
    found = sentences(text)
    assert len(found) == n
    assert "".join(found).replace(" ", "") == text.replace(" ", "")
