"""RowTexts: a column of a table as documents."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest

from roots.corpus import Corpus, WordPiece
from roots.errors import DataError
from roots.records import class_path, plain
from roots.sources import RowTexts
from roots.sources.rows import Delimited, HuggingFaceRows


def table(folder: Path, name: str, *rows: str) -> Path:
    path = folder / name
    path.write_text("sentence\tlabel\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def test_every_row_is_a_document_in_the_order_of_the_files(tmp_path: Path) -> None:
    paths = [table(tmp_path, "a.tsv", "新闻\t1", 'say "so"\t0'), table(tmp_path, "b.tsv", "x y\t2")]
    source = RowTexts(rows=[str(path) for path in paths], column="sentence")
    found = [(d.text, d.id) for d in source.documents()]
    assert found == [
        ("新闻", f"{paths[0]}:2"),
        ('say "so"', f"{paths[0]}:3"),
        ("x y", f"{paths[1]}:2"),
    ]
    assert source.files() == paths


def test_a_reader_with_settings_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one|1\ntwo|2\n")
    reader = Delimited(paths=str(path), delimiter="|", columns=["text", "label"])
    assert [d.text for d in RowTexts(rows=reader).documents()] == ["one", "two"]


@pytest.mark.parametrize("split", ["", "train"])
def test_a_saved_dataset_of_hugging_face_is_a_source(tmp_path: Path, split: str) -> None:
    texts = [f"文 {number} " + "word " * number for number in range(40)]
    saved = datasets.Dataset.from_dict({"text": texts, "label": [0] * 40})
    (datasets.DatasetDict({split: saved}) if split else saved).save_to_disk(str(tmp_path / "saved"))
    source = RowTexts(rows=HuggingFaceRows(path=str(tmp_path / "saved")))
    assert [document.text for document in source.documents()] == texts
    corpus = Corpus(
        source=source,
        out=str(tmp_path / "out"),
        tokenizer=WordPiece(vocab_size=40),
        val_fraction=0.0,
        workers=1,
    )
    corpus.prepare(progress=False)
    assert corpus.is_ready()
    assert any(path.suffix == ".arrow" for path in source.files())


def test_a_corpus_counts_the_empty_ones_it_drops(tmp_path: Path) -> None:
    path = table(tmp_path, "a.tsv", "a b\t1", "\t0", "b a\t1")
    corpus = Corpus(
        source=RowTexts(rows=str(path), column="sentence"),
        out=str(tmp_path / "out"),
        tokenizer=WordPiece(vocab_size=20),
        val_fraction=0.0,
        workers=1,
    )
    from roots.shards import ShardFolder

    manifest = ShardFolder.open(corpus.prepare(progress=False)).manifest
    assert (manifest.documents_read, dict(manifest.documents_dropped)) == (3, {"empty": 1})
    assert manifest.splits["train"].documents == 2


def test_a_column_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    path = table(tmp_path, "a.tsv", "a b\t1")
    with pytest.raises(DataError, match=r"a\.tsv:2 has no column 'text' .* sentence, label"):
        list(RowTexts(rows=str(path)).documents())
    assert len(list(RowTexts(rows=str(path), column="sentence").documents())) == 1


def test_a_row_of_other_columns_or_without_a_text_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, "a.tsv", "a\tb\t1")
    with pytest.raises(DataError, match=r"a\.tsv:2 has 3 values and the table 2 columns"):
        list(RowTexts(rows=str(path), column="sentence").documents())
    numbers = tmp_path / "n.jsonl"
    numbers.write_text('{"text": 3}\n')
    with pytest.raises(DataError, match=r"'text' is a number, not text"):
        list(RowTexts(rows=str(numbers)).documents())


def test_its_settings_are_plain() -> None:
    assert class_path(RowTexts) == "roots.sources.RowTexts"
    assert plain(RowTexts(rows=["a.tsv"]))["init_args"] == {"rows": ["a.tsv"], "column": "text"}
