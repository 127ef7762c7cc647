"""Texts in an object store: the documents are those of the same files on this disk."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from range_server import RangeServer, serving

from roots.corpus import BytePairs, Corpus
from roots.errors import DataError
from roots.sources import Csv, Jsonl, Parquet, Source, Text
from roots.sources.finding import once
from roots.sources.rows import rows_from
from roots.stores import located

TEXTS = [f"Document {n}: Grüße, 熊. " + "word " * (n % 50) for n in range(300)]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    lines = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS).encode()
    (folder / "plain.jsonl").write_bytes(lines)
    (folder / "packed.jsonl.gz").write_bytes(gzip.compress(lines))
    (folder / "packed.jsonl.zst").write_bytes(zstandard.compress(lines))
    (folder / "in").mkdir()
    (folder / "in" / "a.txt").write_text("\n\n".join(TEXTS), encoding="utf-8")
    (folder / "in" / "b.txt").write_text("one text", encoding="utf-8")
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text"], *([text] for text in TEXTS)])
    pq.write_table(
        pa.table({"text": TEXTS}), folder / "table.parquet", row_group_size=70, compression="zstd"
    )
    return folder


@pytest.fixture
def server(texts: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeServer]:
    monkeypatch.setattr("roots.stores.patience.sleep", lambda _: None)
    with serving(texts) as running:
        yield running


@pytest.fixture
def memory(texts: Path) -> Iterator[str]:
    store = fsspec.filesystem("memory")
    for path in sorted(texts.rglob("*.*")):
        store.pipe_file(f"/stored/{path.relative_to(texts)}", path.read_bytes())
    store.pipe_file("/stored/in/.hidden.txt", b"hidden")
    yield "memory://stored"
    store.rm("/stored", recursive=True)


def read(source: Source, root: str) -> list[tuple[str, str]]:
    return [(each.id.removeprefix(root), each.text) for each in source.documents()]


KINDS: list[tuple[str, Any]] = [
    ("plain.jsonl", Jsonl),
    ("packed.jsonl.gz", Jsonl),
    ("packed.jsonl.zst", Jsonl),
    ("table.csv", Csv),
    ("table.parquet", Parquet),
    ("in/a.txt", Text),
]


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_the_documents_are_those_of_the_local_file(
    server: RangeServer, memory: str, texts: Path, name: str, kind: Any
) -> None:
    local = read(kind(paths=f"{texts}/{name}"), str(texts))
    assert len(local) == (1 if kind is Text else len(TEXTS))
    assert read(kind(paths=f"{memory}/{name}"), memory) == local
    server.faults[name] = ["cut", "503", "short"]
    assert read(kind(paths=f"{server.url}/{name}"), server.url) == local
    assert not server.faults[name]


def test_paragraphs_and_lines_are_those_of_the_local_file(memory: str, texts: Path) -> None:
    for document in ("line", "blank_line"):
        local = Text(paths=f"{texts}/in/a.txt", document=document)  # type: ignore[arg-type]
        stored = Text(paths=f"{memory}/in/a.txt", document=document)  # type: ignore[arg-type]
        assert read(stored, memory) == read(local, str(texts))


def test_a_folder_and_a_glob_name_the_files_of_the_store(memory: str, texts: Path) -> None:
    def names(source: Source) -> list[str]:
        return [str(path).removeprefix(memory).removeprefix(str(texts)) for path in source.files()]

    assert names(Text(paths=memory)) == names(Text(paths=str(texts))) == ["/in/a.txt", "/in/b.txt"]
    assert names(Jsonl(paths=memory)) == names(Jsonl(paths=str(texts)))
    for pattern in ("**/*.txt", "in/[a-b].txt", "*.jsonl*"):
        kind = Text if "txt" in pattern else Jsonl
        assert names(kind(paths=f"{memory}/{pattern}")) == names(kind(paths=f"{texts}/{pattern}"))
    both = Text(paths=[f"{memory}/in/b.txt", f"{texts}/in/b.txt"])
    assert len(both.files()) == 2
    assert [document.text for document in both.documents()] == ["one text"] * 2


def test_what_names_nothing_is_told_with_its_cure(memory: str, server: RangeServer) -> None:
    fsspec.filesystem("memory").pipe_file("/stored/empty.txt", b"")
    for name, told in (
        ("no.txt", r"memory://stored/no\.txt names nothing to read. It is no file, and no folder"),
        ("*.text", r"stored/\*\.text names nothing to read. The glob matches no file"),
        ("empty.txt", r"empty\.txt is empty \(0 bytes\)"),
    ):
        with pytest.raises(DataError, match=told):
            Text(paths=f"{memory}/{name}").files()
    with pytest.raises(DataError, match="names nothing to read"):
        Text(paths=f"{server.url}/no.txt").files()
    assert len(Text(paths=f"{memory}/in/b.txt").files()) == 1


def test_a_packed_file_that_was_cut_is_told(memory: str) -> None:
    store = fsspec.filesystem("memory")
    for name in ("packed.jsonl.gz", "packed.jsonl.zst"):
        raw = store.cat_file(f"/stored/{name}")
        store.pipe_file(f"/stored/{name}", raw[: len(raw) // 2])
        with pytest.raises(DataError, match=rf"{memory}/{name}: the \w+ data break"):
            list(Jsonl(paths=f"{memory}/{name}").documents())


def test_a_corpus_of_a_store_is_built_once_and_again_when_it_changed(
    server: RangeServer, tmp_path: Path
) -> None:
    folder = tmp_path / "served"
    shutil.copytree(server.folder, folder)
    server.folder = folder

    def corpus(paths: str, out: str) -> Corpus:
        return Corpus(
            source=Jsonl(paths=paths),
            out=str(tmp_path / out),
            tokenizer=BytePairs(vocab_size=300),
            workers=1,
        )

    here = corpus(f"{folder}/plain.jsonl", "here").prepare(progress=False)
    made = corpus(f"{server.url}/plain.jsonl", "there")
    there = made.prepare(progress=False)
    for name in ("train.bin", "train.idx", "val.bin"):
        assert (here / name).read_bytes() == (there / name).read_bytes()
    assert made.is_ready()
    lines = (folder / "plain.jsonl").read_bytes().replace(b"Document 7", b"Document 8")
    (folder / "plain.jsonl").write_bytes(lines)
    os.utime(folder / "plain.jsonl", ns=(1, 1))  # of the same size
    why = corpus(f"{server.url}/plain.jsonl", "there").stale_because()
    assert why is not None


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_what_is_asked_behind_an_address_hides_no_ending(
    server: RangeServer, texts: Path, name: str, kind: Any
) -> None:
    local = [text for _, text in read(kind(paths=f"{texts}/{name}"), "")]
    signed = kind(paths=f"{server.url}/{name}?part=1&sig=a/b.txt")
    assert [text for _, text in read(signed, "")] == local
    if "jsonl.zst" not in name and name.endswith((".csv", ".jsonl", ".gz")):
        rows = rows_from(f"{server.url}/{name}?part=1&sig=a/b.txt")
        assert [row.fields["text"] for row in rows.rows()] == local


def test_a_new_signature_makes_no_new_corpus_and_no_secret_is_written(
    server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def corpus(secret: str) -> Corpus:
        signed = f"X-Amz-Date=at{secret}&X-Amz-Signature={secret}"
        address = server.url.replace("//", f"//ann:{secret}@")
        return Corpus(
            source=Text(paths=f"{address}/in/a.txt?{signed}", document="blank_line"),
            out=str(tmp_path / "out"),
            tokenizer=BytePairs(vocab_size=300),
            workers=1,
        )

    folder = corpus("hunter1").prepare(progress=False)
    written = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert b"Signature=<secret>" in written["manifest.json"]
    assert b"Signature=<secret>" in written["inputs.json"]
    assert b"Signature=<secret>:" in written["kept.json"]
    assert not [name for name, raw in written.items() if b"hunter" in raw]
    monkeypatch.setattr(Text, "documents", lambda _: pytest.fail("the text was read again"))
    assert corpus("hunter2").stale_because() is None
    with pytest.raises(DataError, match=r"X-Amz-Signature=<secret> names nothing") as refused:
        Text(paths=f"{server.url}/in/no.txt?X-Amz-Signature=hunter1").files()
    assert "hunter" not in str(refused.value)


def test_files_of_a_store_are_told_apart_without_asking_it(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [located(f"{memory}/in/{name}.txt") for name in "bab"]
    monkeypatch.setattr(type(paths[0]), "stat", lambda *_, **__: pytest.fail("the store was asked"))
    assert once(paths) == [paths[1], paths[0]]
