"""ExactDuplicates: the first of each text stays, whatever the order of work."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ways import decided, dropped

from roots.corpus.duplicates import ExactDuplicates, equal_keys
from roots.records import Drop, Keep

TEXTS = ["A  tree.", "a tree.\n", "a tree", "Caf\u00e9", "cafe\u0301", "", " ", "根"]


def clusters(folder: Path) -> dict[str, list[str]]:
    lines = (folder / "exact_duplicates.jsonl").read_text(encoding="utf-8").splitlines()
    return {line["kept"]: line["dropped"] for line in map(json.loads, lines)}


def test_copies_fall_for_the_first(tmp_path: Path) -> None:
    decisions = decided(ExactDuplicates(), [*TEXTS, "A TREE."], tmp_path)
    assert dropped(decisions) == [1, 4, 6, 8]
    assert [decisions[i] for i in (1, 4, 6, 8)] == [
        Drop("exact_duplicate", f"as {kept}") for kept in ("d0", "d3", "d5", "d0")
    ]
    assert decisions[0] == Keep()
    assert clusters(tmp_path) == {"d0": ["d1", "d8"], "d3": ["d4"], "d5": ["d6"]}


@pytest.mark.parametrize(
    ("part", "still"), [("nfc", [1, 6]), ("fold_case", [6]), ("collapse_space", [4])]
)
def test_what_counts_as_the_same_can_be_set(part: str, still: list[int], tmp_path: Path) -> None:
    assert dropped(decided(ExactDuplicates(**{part: False}), TEXTS, tmp_path)) == still


@settings(deadline=None)
@given(st.lists(st.sampled_from([*TEXTS, "a", "A", "b", "\ud800"]), max_size=40))
def test_the_definition(texts: list[str]) -> None:
    def form(text: str) -> str:
        return " ".join(unicodedata.normalize("NFC", text).casefold().split())

    seen: set[str] = set()
    expected = []
    for i, text in enumerate(texts):
        if form(text) in seen:
            expected.append(i)
        seen.add(form(text))
    with TemporaryDirectory() as name:
        decisions = decided(ExactDuplicates(), texts, Path(name))
        assert dropped(decisions) == expected
        written = clusters(Path(name))
    assert sorted(id_ for ids in written.values() for id_ in ids) == sorted(
        f"d{i}" for i in expected
    )


def test_the_size_of_the_parts_that_are_sorted_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"text {i * i % 311}" for i in range(2000)]
    whole = decided(ExactDuplicates(), texts, tmp_path / "whole")
    monkeypatch.setattr(equal_keys, "KEYS_AT_ONCE", 37)
    monkeypatch.setattr(equal_keys, "_ROWS_READ", 101)
    parts = decided(ExactDuplicates(), texts, tmp_path / "parts")
    assert parts == whole
    assert len(dropped(whole)) == 2000 - 156
    assert clusters(tmp_path / "parts") == clusters(tmp_path / "whole")
