"""Books in a folder or an object store; no datatrove is needed to read them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import fsspec
import pytest

from roots.corpus.books import Books
from roots.corpus.engines import read_books
from roots.corpus.engines.engine_folder import EngineFolder
from roots.corpus.engines.rank_books import write_books
from roots.errors import DataError
from roots.records import KEEP, Document, Drop


@pytest.fixture(params=["disk", "memory"])
def address(request, tmp_path: Path) -> str:
    if request.param == "disk":
        return str(tmp_path / "books")
    store = fsspec.filesystem("memory")
    if store.exists("/test-books"):
        store.rm("/test-books", recursive=True)
    return "memory://test-books/of/a/run"


def books_of(reasons: list[str]) -> Books:
    books = Books(["Read", "Stage"], source="documents")
    for reason in reasons:
        document = Document("tëxt", "a", source="wéb\ud800" if reason == "kept" else "")
        books.enter(0, document, KEEP)
        books.enter(1, document, KEEP if reason == "kept" else Drop(reason))
    return books


def test_the_books_of_all_tasks_add_up(address: str) -> None:
    for rank, reasons in enumerate((["kept", "short"], ["short", "long"], [])):
        folder = pickle.loads(pickle.dumps(EngineFolder(address)))
        write_books(folder, books_of(["kept"] * 9), rank, 3)  # a first try, which is replaced
        write_books(folder, books_of(reasons), rank, 3)
    assert read_books(address).plain() == books_of(["kept", "short", "short", "long"]).plain()


def test_what_is_not_whole_has_no_name(address: str) -> None:
    folder = EngineFolder(address)
    assert folder.names(".json") == []
    with pytest.raises(TypeError), folder.writing("00000.json", "w") as file:
        json.dump({"rank": object()}, file)
    assert folder.names(".json") == []
    write_books(folder, books_of(["kept"]), 1, 3)
    with pytest.raises(DataError, match="lacks the books of 2 of 3 tasks: the first is 0"):
        read_books(address)
    write_books(folder, books_of(["kept"]), 0, 3)
    write_books(folder, books_of(["kept"]), 2, 3)
    assert read_books(address).documents_kept == 3
