"""Folder and StandardLibrary: sources as documents, in one order on every run."""

from __future__ import annotations

import sysconfig

import pytest

from roots.errors import DataError
from roots.sources import Folder, StandardLibrary


def test_documents_are_named_by_their_relative_path(tmp_path) -> None:
    for name in ("b/x.py", "a.py", "a.md", "b/__pycache__/y.py", ".venv/z.py", "b/.hidden.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n")
    documents = list(Folder(path=str(tmp_path)).documents())
    assert [(d.id, d.text) for d in documents] == [("a.py", "# a.py\n"), ("b/x.py", "# b/x.py\n")]
    both = Folder(path=str(tmp_path), suffixes=(".py", ".md"), exclude=("b", "*.pyc"))
    assert [d.id for d in both.documents()] == ["a.md", "a.py"]


def test_a_declared_encoding_is_respected(tmp_path) -> None:
    (tmp_path / "latin.py").write_bytes("# -*- coding: latin-1 -*-\nname = 'é'\n".encode("latin-1"))
    (tmp_path / "mark.py").write_bytes(b"\xef\xbb\xbfx = 1\n")
    (tmp_path / "wrong.py").write_bytes(b"# coding: nonsense\nname = '\xe9'\n")
    source = Folder(path=str(tmp_path))
    found = {d.id: d.text for d in source.documents()}
    assert "name = 'é'" in found["latin.py"]
    assert found["mark.py"] == "x = 1\n"
    assert "name = '\ufffd'" in found["wrong.py"]
    assert source.n_replaced == 1


def test_a_folder_that_is_not_there_is_refused(tmp_path) -> None:
    with pytest.raises(DataError, match=rf"looked for {tmp_path}/no"):
        Folder(path=f"{tmp_path}/no").files()


def test_a_folder_without_sources_names_suffixes_and_exclude(tmp_path) -> None:
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "a.py").write_text("x")
    with pytest.raises(DataError, match=r"ends in \.py, without what exclude=.*'build'"):
        Folder(path=str(tmp_path)).files()
    assert len(Folder(path=str(tmp_path), exclude=()).files()) == 1


def test_a_binary_source_is_refused_and_the_cure_works(tmp_path) -> None:
    (tmp_path / "bad.py").write_bytes(b"x\x00")
    (tmp_path / "good.py").write_text("y")
    with pytest.raises(DataError, match=r"bad\.py: byte 1 is NUL"):
        list(Folder(path=str(tmp_path)).documents())
    cured = Folder(path=str(tmp_path), exclude=("bad.py",))
    assert [d.text for d in cured.documents()] == ["y"]


def test_the_standard_library_is_read_without_its_tests() -> None:
    source = StandardLibrary()
    ids = [document.id for document in source.documents()]
    assert ids == sorted(ids)
    assert {"os.py", "pydoc_data/topics.py", "json/decoder.py"} <= set(ids)
    assert not [
        i for i in ids if {"test", "tests", "idle_test", "site-packages"} & set(i.split("/"))
    ]
    assert len(ids) == len(source.files()) > 300
    assert source.n_replaced == 0


def test_a_python_without_sources_is_told_what_else_to_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / "python311.zip"))
    with pytest.raises(DataError, match=r"python311\.zip/os\.py does not exist.*Text"):
        StandardLibrary().files()


@pytest.mark.parametrize("coding", ["rot13", "utf-16", "hex", "utf-8-sig"])
def test_an_encoding_that_no_text_is_in_is_nonsense_too(tmp_path, coding) -> None:
    (tmp_path / "a.py").write_text(f"# coding: {coding}\nname = 'é'\n", encoding="utf-8")
    (found,) = Folder(path=str(tmp_path)).documents()
    assert found.text.endswith("name = 'é'\n")
