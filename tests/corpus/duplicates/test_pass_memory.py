"""Memory: what a pass holds does not grow with the documents, apart from what it says it holds."""

from __future__ import annotations

import errno
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from roots.corpus.duplicates import (
    ExactDuplicates,
    NearDuplicates,
    RepeatedLines,
    blocks,
    equal_keys,
    groups,
)
from roots.corpus.stage import Pass
from roots.records import Document, Drop

pytestmark = pytest.mark.heavy


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


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no way to reserve a file here")
@pytest.mark.parametrize("corpus_pass", [ExactDuplicates(), NearDuplicates()])
def test_a_full_disk_is_an_error_and_no_dead_process(corpus_pass, tmp_path, monkeypatch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")

    def refused(*_: int) -> None:
        raise full

    monkeypatch.setattr(os, "posix_fallocate", refused)
    with pytest.raises(OSError, match="No space left"):
        list(corpus_pass.decide(Generated(50), tmp_path))
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert len(list(corpus_pass.decide(Generated(50), tmp_path))) == 50


def test_the_place_of_a_mapped_file_is_taken_when_it_is_made(tmp_path) -> None:
    array = groups.made(tmp_path / "file", 2**20)
    assert (tmp_path / "file").stat().st_blocks * 512 >= 2**23
    array[-1] = 7
    assert np.fromfile(tmp_path / "file", np.int64).tolist() == [*[0] * (2**20 - 1), 7]
    assert len(groups.made(tmp_path / "empty", 0)) == 0
    assert (tmp_path / "empty").read_bytes() == b""
