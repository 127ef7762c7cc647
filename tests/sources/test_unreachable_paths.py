"""A path that the system refuses to look at is told as any other that is not there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roots.corpus import BytePairs, Corpus, Existing
from roots.errors import ConfigError, DataError
from roots.sources import Csv, Folder, Jsonl, Source, Text
from roots.sources.opening import open_bytes
from roots.sources.rows import HuggingFaceRows, LabelSet, rows_from

LONG = "x" * 300


@pytest.mark.parametrize("name", [LONG, f"./{LONG}", f"{LONG}/a.csv", "/".join(["y" * 99] * 50)])
@pytest.mark.parametrize(
    "read",
    [
        lambda name: Text(paths=name).files(),
        lambda name: Csv(paths=[name]).files(),
        lambda name: Jsonl(paths=name).files(),
        lambda name: rows_from(name).files(),
        LabelSet.given,
        lambda name: Folder(path=name).files(),
        lambda name: HuggingFaceRows(path=f"./{name}").files(),
    ],
)
def test_a_path_longer_than_a_system_takes_does_not_exist(
    read: Callable[[str], Any], name: str
) -> None:
    with pytest.raises(DataError, match=r"(does not exist|is not a folder) \(looked for .*Correct"):
        read(name)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_file_of_others_is_told_by_name(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / f"a.txt{ending}"
    path.write_text("the cat")
    monkeypatch.setattr(Path, "open", refuse)
    told = r"a\.txt.* may not be read by you .*take it off the list"
    with pytest.raises(DataError, match=told):
        open_bytes(path)
    for source in (Text(paths=str(path)), Folder(path=str(tmp_path), suffixes=(path.suffix,))):
        with pytest.raises(DataError, match=told):
            list(source.documents())


@pytest.mark.parametrize(
    "read", [lambda at: Text(paths=at), lambda at: Folder(path=at, suffixes=(".txt",))]
)
def test_a_folder_of_others_within_is_no_empty_one(
    read: Callable[[str], Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "a.txt").write_text("the cat")
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if str(path).endswith("theirs"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"theirs cannot be read \(Permission denied\).* by a glob"):
        read(str(tmp_path)).files()
    assert Text(paths=f"{tmp_path}/*.txt").files() == [tmp_path / "a.txt"]


@pytest.mark.parametrize("target", ["nowhere.txt", "b.txt"])
def test_a_link_that_leads_nowhere_is_told_and_the_cure_works(tmp_path: Path, target: str) -> None:
    (tmp_path / "a.txt").write_text("the cat")
    (tmp_path / "b.txt").symlink_to(tmp_path / target)
    for source in (Text(paths=str(tmp_path)), Folder(path=str(tmp_path), suffixes=(".txt",))):
        with pytest.raises(DataError, match=r"b\.txt is no file to be read: a link to nothing"):
            source.files()
    (tmp_path / "b.txt").unlink()
    assert [path.name for path in Text(paths=str(tmp_path)).files()] == ["a.txt"]


def test_a_linked_file_is_read_once_by_its_first_name(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.txt").write_text("the cat")
    (tmp_path / "in" / "c.txt").write_text("the cat")
    (tmp_path / "in" / "a.txt").symlink_to("b.txt")
    (tmp_path / "d.txt").symlink_to("in/b.txt")
    paths = [f"{tmp_path}/in", f"{tmp_path}/d.txt"]
    assert [path.name for path in Text(paths=paths).files()] == ["a.txt", "c.txt"]
    found = Folder(path=f"{tmp_path}/in", suffixes=(".txt",)).documents()
    assert [document.id for document in found] == ["a.txt", "c.txt"]


def test_variables_are_expanded_in_every_path_of_a_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_DISK", str(tmp_path))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.py").write_text("the = 'cat'")
    BytePairs(vocab_size=257).make(["a"]).save(tmp_path / "tokens")
    corpus = Corpus(
        source=Folder(path="${MY_DISK}/in"),
        tokenizer=Existing(path="${MY_DISK}/tokens"),
        out="${MY_DISK}/out",
        val_fraction=0.0,
        workers=1,
    )
    assert corpus.prepare(progress=False) == tmp_path / "out"
    monkeypatch.delenv("MY_DISK")
    with pytest.raises(ConfigError, match=r"needs the variable MY_DISK, which is not set\. Set it"):
        corpus.prepare(progress=False)


def test_a_glob_refuses_a_link_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "unfetched")
    (tmp_path / "c.jsonl").mkdir()
    with pytest.raises(DataError, match=r"b\.jsonl is no file to be read: a link to nothing"):
        Jsonl(paths=f"{tmp_path}/*.jsonl").files()
    (tmp_path / "b.jsonl").unlink()
    assert Jsonl(paths=f"{tmp_path}/*.jsonl").files() == [tmp_path / "a.jsonl"]
    assert Jsonl(paths=f"file://{tmp_path}/*.jsonl").files() == [tmp_path / "a.jsonl"]
