"""Memory: what a pass holds does not grow with the documents, apart from what it says it holds."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from roots.corpus.duplicates import (
    ExactDuplicates,
    NearDuplicates,
    RepeatedLines,
    blocks,
    equal_keys,
)
from roots.corpus.stage import Pass
from roots.records import Document, Drop


class Generated:
    """Documents that exist only while they are read; every tenth is a near copy, and has a copy."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __call__(self) -> Iterator[Document]:
        for i in range(self.n):
            of = i - i % 10 if i % 10 < 3 else i
            words = " ".join(f"{of}w{k}" for k in range(30))
            yield Document(
                text=f"{words}{' more' * (i % 10 == 1)}\na shared line of text", id=f"{i}"
            )


def peak(corpus_pass: Pass, n: int, folder: Path) -> int:
    tracemalloc.start()
    dropped = sum(isinstance(each, Drop) for each in corpus_pass.decide(Generated(n), folder))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert dropped in (0, n // 10, n // 5)
    return most


@pytest.mark.parametrize(
    ("corpus_pass", "bytes_per_document"),
    [(ExactDuplicates(), 15), (NearDuplicates(), 90), (RepeatedLines(max_documents=3), 5)],
)
def test_memory_does_not_grow_with_the_corpus(
    corpus_pass: Pass,
    bytes_per_document: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocks, "_MAX_DOCUMENTS", 64)
    monkeypatch.setattr(equal_keys, "KEYS_AT_ONCE", 1000)
    monkeypatch.setattr(equal_keys, "_ROWS_READ", 500)
    peak(corpus_pass, 1000, tmp_path)  # fills what is made once
    few, many = (peak(corpus_pass, n, tmp_path) for n in (2000, 10_000))
    assert many - few < 8000 * bytes_per_document
