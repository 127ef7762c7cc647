"""Books in a folder or an object store; no datatrove is needed to read them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from roots.corpus import GopherQuality, Pii, Stage
from roots.corpus.books import Books
from roots.corpus.engines import read_books
from roots.corpus.engines.engine_folder import EngineFolder
from roots.corpus.engines.rank_books import write_books
from roots.errors import DataError
from roots.records import KEEP, Document, Drop, Verdict


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


class Unkept(Stage):
    """Does not keep its argument."""

    def __init__(self, most: int = 3) -> None:
        self._limit = most

    def __call__(self, document: Document) -> Verdict:
        return KEEP


def test_books_of_the_same_stages_with_other_arguments_are_of_another_run(address: str) -> None:
    folder, few, many = EngineFolder(address), GopherQuality(min_words=9), GopherQuality()
    write_books(folder, books_of(["kept"]), 0, 2, [few, Unkept()])
    write_books(folder, books_of(["kept"]), 1, 2, [many, Unkept()])
    with pytest.raises(DataError, match=r"of \[2\] tasks and 2 lists of stages, by their names"):
        read_books(address)
    write_books(folder, books_of(["kept"]), 1, 2, [GopherQuality(min_words=9), Unkept(4)])
    assert read_books(address).documents_kept == 2
    write_books(folder, books_of(["kept"]), 1, 2, [few, Pii()])
    with pytest.raises(DataError, match="of several runs"):
        read_books(address)


def test_what_another_process_wrote_is_seen_where_listings_are_kept(monkeypatch) -> None:
    listed, kept = MemoryFileSystem.ls, {}

    def remembering(files, path, detail=True, **more):  # as s3fs and gcsfs are
        found = kept.setdefault(path, listed(files, path, detail=True, **more))
        return found if detail else [entry["name"] for entry in found]

    monkeypatch.setattr(MemoryFileSystem, "ls", remembering)
    monkeypatch.setattr(MemoryFileSystem, "invalidate_cache", lambda files, path: kept.pop(path, 0))
    folder = EngineFolder("memory://remembered-books")
    for rank in range(2):
        write_books(folder, books_of(["kept"]), rank, 2)
        assert len(folder.names(".json")) == rank + 1


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


def test_a_folder_of_an_engine_may_begin_with_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = EngineFolder("~/near")
    assert str(folder) == f"{tmp_path}/near"
    assert str(folder.folder("pairs")) == f"{tmp_path}/near/pairs"
    with folder.writing("a.txt", "w") as file:
        file.write("x")
    assert (tmp_path / "near" / "a.txt").read_text() == "x"
    assert str(EngineFolder("file:///tmp/near")) == "/tmp/near"
