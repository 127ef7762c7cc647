"""RepeatedLines: what stands in too many documents is cut everywhere, and counted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ways import decided, dropped, outcome

from roots.corpus.duplicates import RepeatedLines, equal_keys
from roots.errors import ConfigError
from roots.records import Drop, Edit, Keep

MENU = "Home | About | Contact | Imprint"
NOTICE = "We use cookies, and you have no choice."


def page(i: int, *, menu: str = MENU, notice: str = NOTICE) -> str:
    return f"{menu}\nThis is what page number {i} says of roots.\n\n{notice}\n"


def cut_lines(folder: Path) -> list[dict]:
    lines = (folder / "repeated_lines.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_lines_of_many_documents_are_cut_everywhere(tmp_path: Path) -> None:
    texts = [page(0), page(1, menu=MENU.upper()), page(2, notice="Nothing.\n" * 9), page(3)]
    decisions = decided(RepeatedLines(max_documents=2), texts, tmp_path)
    outcomes = [outcome(*each) for each in zip(texts, decisions, strict=True)]
    assert [text for text, _ in outcomes] == [
        "This is what page number 0 says of roots.\n\n",
        "This is what page number 1 says of roots.\n\n",
        "This is what page number 2 says of roots.\n\n" + "Nothing.\n" * 9 + "\n",
        "This is what page number 3 says of roots.\n\n",
    ]
    assert [counts for _, counts in outcomes] == [{"repeated_line": n} for n in (2, 2, 1, 2)]
    assert decisions[1].document.metadata == {"place": 1}
    assert cut_lines(tmp_path) == [
        {"line": MENU, "documents": 4},
        {"line": NOTICE, "documents": 3},
    ]


def test_up_to_the_number_lines_stay(tmp_path: Path) -> None:
    texts = [page(i) for i in range(4)]
    for max_documents, n_edited in ((3, 4), (4, 0)):
        decisions = decided(RepeatedLines(max_documents=max_documents), texts, tmp_path)
        assert sum(isinstance(each, Edit) for each in decisions) == n_edited
    assert decisions == [Keep()] * 4
    assert cut_lines(tmp_path) == []


def test_a_line_counts_once_in_a_document(tmp_path: Path) -> None:
    texts = [f"{MENU}\n" * 50 + "one", MENU + "\ntwo", "three"]
    decisions = decided(RepeatedLines(max_documents=1), texts, tmp_path)
    assert [outcome(*each) for each in zip(texts, decisions, strict=True)] == [
        ("one", {"repeated_line": 50}),
        ("two", {"repeated_line": 1}),
        ("three", {}),
    ]
    assert cut_lines(tmp_path) == [{"line": MENU, "documents": 2}]


def test_a_document_of_which_nothing_remains_is_dropped(tmp_path: Path) -> None:
    texts = [f"{MENU}\n\n{NOTICE}\n", page(1), page(2)]
    decisions = decided(RepeatedLines(max_documents=2), texts, tmp_path)
    assert dropped(decisions) == [0]
    assert decisions[0] == Drop("only_repeated_lines", "2 cut")


def test_short_lines_stay(tmp_path: Path) -> None:
    texts = [f"else:\n    return {i}\n" for i in range(50)]
    assert decided(RepeatedLines(), texts, tmp_path) == [Keep()] * 50
    lines = RepeatedLines(min_characters=5)
    assert all(isinstance(each, Edit) for each in decided(lines, texts, tmp_path))
    empty = [f"{i}\n\n\n   \n" for i in range(50)]
    assert decided(RepeatedLines(min_characters=0), empty, tmp_path) == [Keep()] * 50


def test_paragraphs(tmp_path: Path) -> None:
    licence = "You may use this text for anything,\nexcept for what you may not."
    own = "A line of its own, and long enough."
    texts = [f"{licence}\n \n\n{own[:-1]} {i}\n\nexcept for what you may not." for i in range(3)]
    unit = RepeatedLines(max_documents=2, unit="paragraph", min_characters=30)
    decisions = decided(unit, texts, tmp_path)
    assert [outcome(*each) for each in zip(texts, decisions, strict=True)] == [
        (f"{own[:-1]} {i}\n\nexcept for what you may not.", {"repeated_paragraph": 1})
        for i in range(3)
    ]
    assert cut_lines(tmp_path) == [{"line": licence, "documents": 3}]


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdefA "), max_size=8), max_size=20), st.integers(1, 4))
def test_the_definition(documents: list[list[str]], n: int) -> None:
    counts = Counter(line for lines in documents for line in {each.lower() for each in lines})
    del counts[" "]
    kept = [[each for each in lines if counts[each.lower()] <= n] for lines in documents]
    unit = RepeatedLines(max_documents=n, min_characters=1)
    with TemporaryDirectory() as name:
        texts = ["\n".join(lines) for lines in documents]
        decisions = decided(unit, texts, Path(name))
        written = {line["line"].lower(): line["documents"] for line in cut_lines(Path(name))}
    for text, decision, lines, whole in zip(texts, decisions, kept, documents, strict=True):
        gone = len(whole) - len(lines)
        after, cut = outcome(text, decision)
        if after is None:
            assert not "".join(lines).strip()
            assert gone
        else:
            assert after.rstrip("\n") == "\n".join(lines).rstrip("\n")
            assert cut.get("repeated_line", 0) == gone
    assert written == {line: count for line, count in counts.items() if count > n}


@pytest.mark.parametrize("range_bits", [1, 4])
def test_the_size_of_the_parts_that_are_sorted_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, range_bits: int
) -> None:
    texts = [page(i % 30, menu=f"Menu of the site number {i % 70}") for i in range(300)]
    whole = decided(RepeatedLines(max_documents=5), texts, tmp_path / "whole")
    monkeypatch.setattr(equal_keys, "KEYS_AT_ONCE", 37)
    monkeypatch.setattr("roots.corpus.duplicates.lines._RANGE_BITS", range_bits)
    assert decided(RepeatedLines(max_documents=5), texts, tmp_path / "parts") == whole
    assert cut_lines(tmp_path / "whole") == cut_lines(tmp_path / "parts")
    assert len(cut_lines(tmp_path / "whole")) == 1 + 30  # the notice, and what the pages say


def test_keys_that_begin_alike_are_counted_in_parts_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(4)
    different = draw.integers(2**58, size=4000, dtype=np.uint64) | np.uint64(5 << 58)
    keys = np.concatenate((different, different[:1000], different[:300]))
    (tmp_path / "keys").write_bytes(draw.permutation(keys).tobytes())
    monkeypatch.setattr(equal_keys, "KEYS_AT_ONCE", 500)
    counted, sizes = equal_keys._counted, []

    def watched(*args):
        found = counted(*args)
        sizes.append(len(found[0]))
        return found

    monkeypatch.setattr(equal_keys, "_counted", watched)
    found, times = equal_keys.frequent_keys(tmp_path / "keys", 1, same_bits=6)
    known = Counter(keys.tolist())
    expected = sorted((key, n) for key, n in known.items() if n > 1)
    assert list(zip(found.tolist(), times.tolist(), strict=True)) == expected
    assert len(sizes) == 11
    assert max(sizes) < 2 * 4000 / 11


@pytest.mark.parametrize(
    ("wrong", "words", "cure"),
    [
        ({"max_documents": 0}, "max_documents=0 must be 1 or more", {"max_documents": 1}),
        ({"min_characters": -1}, "min_characters=-1 must be 0 or more", {"min_characters": 0}),
        ({"unit": "word"}, "unit='word' is none of line, paragraph", {"unit": "paragraph"}),
    ],
)
def test_a_wrong_setting_is_told_with_its_cure(wrong: dict, words: str, cure: dict) -> None:
    with pytest.raises(ConfigError, match=words):
        RepeatedLines(**wrong)
    RepeatedLines(**cure)
