"""Names of documents that UTF-8 cannot write: every part of a build takes them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from roots.corpus import BytePairs, Corpus, ExactDuplicates, NearDuplicates, Normalise
from roots.corpus.command import main
from roots.corpus.duplicates import Contamination
from roots.corpus.spool import Spool
from roots.records import Document
from roots.shards import ShardFolder
from roots.sources import Jsonl, Source, Text

WORDS = "the roots of a tree hold the ground and drink from it, and the ground holds them too. "
STAGES = [(), (Normalise(), ExactDuplicates(), NearDuplicates())]


def built(source: Source, out: Path, stages: tuple = (), **settings) -> ShardFolder:
    plan = BytePairs(vocab_size=280)
    made = {"tokenizer": plan, "val_fraction": 0.0, "workers": 1} | settings
    corpus = Corpus(source=source, out=str(out), stages=stages, **made)
    corpus.prepare(progress=False)
    assert corpus.is_ready()
    return ShardFolder.open(out)


def named(folder: Path, name: bytes, text: str) -> str:
    path = folder / os.fsdecode(name)
    try:
        path.write_text(text)
    except OSError:
        pytest.skip("this disk takes no file names but UTF-8")
    return str(path)


@pytest.mark.parametrize("stages", STAGES)
def test_files_whose_names_are_no_utf8_become_documents(tmp_path: Path, stages: tuple) -> None:
    (tmp_path / "in").mkdir()
    named(tmp_path / "in", b"caf\xe9.txt", WORDS)
    named(tmp_path / "in", b"caf\xea.txt", WORDS.upper())
    named(tmp_path / "in", b"plain.txt", WORDS.title() * 2)
    folder = built(Text(paths=str(tmp_path / "in")), tmp_path / "out", stages)
    samples = json.loads((tmp_path / "out" / "kept.json").read_text())["samples"]
    assert str(tmp_path / "in" / r"caf\udce9.txt") in [each["id"] for each in samples]
    assert sum(split.documents for split in folder.manifest.splits.values()) == 3 - bool(stages)
    if stages:
        (found,) = (tmp_path / "out" / "exact_duplicates.jsonl").read_text().splitlines()
        assert json.loads(found)["dropped"] == [str(tmp_path / "in" / r"caf\udcea.txt")]


@pytest.mark.parametrize("stages", STAGES)
def test_such_a_file_may_be_named_in_the_recipe(tmp_path: Path, stages: tuple) -> None:
    path = named(tmp_path, b"caf\xe9.txt", WORDS)
    built(Text(paths=path), tmp_path / "out", stages)


@pytest.mark.parametrize("stages", STAGES)
def test_ids_and_licences_with_half_a_surrogate_pair_are_written_readably(
    tmp_path: Path, stages: tuple
) -> None:
    path = tmp_path / "a.jsonl"
    records = [
        {"id": "x\ud800", "license": "mit\ud800", "text": WORDS},
        {"id": "y\ud801", "text": " "},
        {"id": "z\ud802"},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    source = Jsonl(
        paths=str(path),
        id_field="id",
        metadata_fields=["license"],
        on_bad_record="skip",
        max_bad_fraction=0.5,
    )
    built(source, tmp_path / "out", stages)
    kept = json.loads((tmp_path / "out" / "kept.json").read_text())
    assert kept["samples"][0]["id"] == r"x\ud800"
    assert kept["licences"] == {r"mit\ud800": 1}
    assert json.loads((tmp_path / "out" / "rejects.jsonl").read_text())["reason"] == "no_key"
    if stages:
        assert json.loads((tmp_path / "out" / "dropped.jsonl").read_text())["id"] == r"y\ud801"


def test_what_is_printed_of_such_files_can_be_printed(tmp_path: Path, capsys) -> None:
    (tmp_path / "in").mkdir()
    named(tmp_path / "in", b"caf\xe9.txt", " ")
    source = ["--source", "roots.sources.Text", "--source.paths", str(tmp_path / "in")]
    main([*source, "--out", str(tmp_path / "out"), "--dry-run", "--sample", "1"])
    said = capsys.readouterr().out
    assert said.count(r"caf\udce9.txt") == 2
    said.encode()


class Numbered(Source):
    """Documents whose ids are numbers."""

    def files(self) -> list[Path]:
        return []

    def documents(self) -> Iterator[Document]:
        return (Document(f"{WORDS} {n}", n) for n in range(3))  # type: ignore[arg-type]


@pytest.mark.parametrize("stages", STAGES)
def test_an_id_that_is_a_number_is_written_as_one(tmp_path: Path, stages: tuple) -> None:
    built(Numbered(), tmp_path / "out", stages)
    samples = json.loads((tmp_path / "out" / "kept.json").read_text())["samples"]
    assert {each["id"] for each in samples} <= {"0", "1", "2"}


def test_a_spool_gives_back_names_as_they_were(tmp_path: Path) -> None:
    spool = Spool(path=tmp_path / "spool")
    document = Document("a", "x\ud800", {"license": "y\udce9"}, "z\udfff")
    with spool.writer() as writer:
        writer.add(document)
    assert list(spool.documents()) == [document]


def test_an_evaluation_item_with_half_a_surrogate_pair_is_told_readably(tmp_path: Path) -> None:
    words = " ".join(f"word{n}" for n in range(40))
    (tmp_path / "exam.jsonl").write_text(json.dumps({"id": "caf\ud83d", "text": words}) + "\n")
    lines = (json.dumps({"text": text}) + "\n" for text in (words, WORDS))
    (tmp_path / "a.jsonl").write_text("".join(lines))
    exam = Jsonl(paths=str(tmp_path / "exam.jsonl"), id_field="id")
    stages = (Contamination(evaluations={"exam": exam}),)
    folder = built(Jsonl(paths=str(tmp_path / "a.jsonl")), tmp_path / "out", stages)
    assert folder.manifest.documents_dropped == {"contaminated": 1}
    assert r"caf\ud83d" in (tmp_path / "out" / "dropped.jsonl").read_text().replace("\\\\", "\\")
    assert "caf" in (tmp_path / "out" / "README.md").read_text()
