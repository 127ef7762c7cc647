"""The face that all passes share: readings that differ are told, and everything is picked up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jsonargparse import ArgumentParser
from ways import Listed, decided

from roots.corpus.duplicates import (
    Contamination,
    ExactDuplicates,
    NearDuplicates,
    RepeatedLines,
    blocks,
)
from roots.corpus.stage import Pass
from roots.errors import DataError
from roots.records import Document, plain, rebuild
from roots.sources import Jsonl

TWICE = [ExactDuplicates, NearDuplicates, RepeatedLines]


class Changing(Listed):
    """Gives other documents from the second reading on."""

    def __init__(self, texts: list[str], change: Callable[[list[Document]], list[Document]]):
        super().__init__(texts)
        self.change = change

    def __call__(self) -> Iterator[Document]:
        documents = list(super().__call__())
        return iter(documents if self.readings == 1 else self.change(documents))


@pytest.mark.parametrize("kind", TWICE)
@pytest.mark.parametrize("block", [2, 1024])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d[:-1], "gave 5 documents, and the second 4, or"),
        (lambda d: [*d, d[0]], r"gave 5 documents, and the second 6 or more, or"),
        (lambda d: [d[1], d[0], *d[2:]], "gave 5 documents, and the second 5, or some with other"),
        (lambda d: [Document(text="!", id=d[0].id), *d[1:]], "Run again on files that nobody"),
    ],
)
def test_readings_that_differ_are_told(
    kind: type[Pass],
    block: int,
    change: Callable,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocks, "_MAX_DOCUMENTS", block)
    texts = ["a a a", "b b b b", "a a a", "c", "d d"]
    with pytest.raises(DataError, match=words):
        list(kind().decide(Changing(texts, change), tmp_path))
    assert not list(tmp_path.glob(".*"))
    assert len(decided(kind(), texts, tmp_path)) == 5


@pytest.mark.parametrize("kind", TWICE)
def test_documents_are_read_twice(kind: type[Pass], tmp_path: Path) -> None:
    documents = Listed(["a", "b", "a"])
    assert len(list(kind().decide(documents, tmp_path))) == 3
    assert documents.readings == 2


def test_blocks_are_bounded_by_number_and_by_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_MAX_DOCUMENTS", 3)
    monkeypatch.setattr(blocks, "_MAX_CHARACTERS", 10)
    texts = ["x" * n for n in (1, 1, 1, 1, 9, 20, 1)]
    found = list(blocks.Reading(Listed(texts)).blocks())
    assert [[len(text) for text in block.texts()] for block in found] == [
        [1, 1, 1],
        [1, 9],
        [20],
        [1],
    ]
    assert [(block.number, block.first, block.end) for block in found] == [
        (0, 0, 3),
        (1, 3, 5),
        (2, 5, 6),
        (3, 6, 7),
    ]


def test_a_pass_that_is_left_early_cleans_up(tmp_path: Path) -> None:
    decisions = NearDuplicates().decide(Listed(["a b", "a b", "c"]), tmp_path)
    next(decisions)
    assert list(tmp_path.glob(".NearDuplicates-*"))
    decisions.close()
    assert list(tmp_path.iterdir()) == []


def test_passes_come_from_a_configuration() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--passes", type=list[Pass])
    exam = {"class_path": "roots.sources.Jsonl", "init_args": {"paths": "exam.jsonl"}}
    asked = [
        {"class_path": "ExactDuplicates", "init_args": {"fold_case": False}},
        {"class_path": "NearDuplicates", "init_args": {"threshold": 0.7}},
        {"class_path": "RepeatedLines", "init_args": {"unit": "paragraph"}},
        {"class_path": "Contamination", "init_args": {"evaluations": {"exam": exam}}},
    ]
    config = parser.parse_object({"passes": asked})
    made = parser.instantiate(config).passes
    again = parser.instantiate(parser.parse_string(parser.dump(config))).passes
    assert plain(made) == plain(again)
    for spec, given in zip(plain(made), asked, strict=True):
        assert spec["class_path"].rpartition(".")[::2] == (
            "roots.corpus",
            given["class_path"].rpartition(".")[2],
        )
        for name, value in given["init_args"].items():
            if name != "evaluations":
                assert spec["init_args"][name] == value
    assert isinstance(made[3].evaluations["exam"], Jsonl)
    assert plain(made)[1]["init_args"]["words"] == "lowercase"
    rebuilt = [rebuild(each, Pass) for each in plain(made)]
    assert plain(rebuilt) == plain(made)
    assert isinstance(rebuilt[3].evaluations["exam"], Jsonl)


def test_no_pass_imports_torch() -> None:
    import subprocess
    import sys

    code = "import sys, roots.corpus.duplicates; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert Contamination.__module__ == "roots.corpus.duplicates.contamination"
