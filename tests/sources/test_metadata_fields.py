"""What a record says beside its text goes with it: to stages, and into the corpus's card."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from roots.corpus import Characters, Corpus
from roots.corpus.recipe import differences
from roots.sources import Csv, Jsonl, Parquet

ROWS = [
    {"text": "one root", "license": "CC-BY-4.0", "url": "https://a.example/1", "year": "2001"},
    {"text": "two roots", "license": "CC0-1.0", "url": "https://b.example/2", "year": "2002"},
    {"text": "no roots", "license": "CC-BY-4.0", "url": "https://a.example/3", "year": "2003"},
]
FIELDS = ["license", "url", "language"]  # no record has the last


def jsonl(folder: Path) -> Jsonl:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return Jsonl(paths=str(path), metadata_fields=FIELDS)


def table(folder: Path) -> Csv:
    path = folder / "a.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    return Csv(paths=str(path), id_field="year", metadata_fields=FIELDS)


def parquet(folder: Path) -> Parquet:
    path = folder / "a.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    return Parquet(paths=str(path), id_field="year", metadata_fields=FIELDS)


@pytest.mark.parametrize("made", [jsonl, table, parquet])
def test_the_fields_that_a_record_has_are_its_metadata(made: Any, tmp_path: Path) -> None:
    documents = list(made(tmp_path).documents())
    assert [document.text for document in documents] == [row["text"] for row in ROWS]
    for document, row in zip(documents, ROWS, strict=True):
        assert document.metadata == {"license": row["license"], "url": row["url"]}
    if made is not jsonl:
        assert [document.id for document in documents] == ["2001", "2002", "2003"]


def test_the_card_counts_licences_and_domains(tmp_path: Path) -> None:
    source = jsonl(tmp_path)
    out = tmp_path / "out"
    Corpus(source=source, out=str(out), tokenizer=Characters(), val_fraction=0, workers=1).prepare(
        progress=False
    )
    kept = json.loads((out / "kept.json").read_text())
    assert kept["licences"] == {"CC-BY-4.0": 2, "CC0-1.0": 1}
    assert kept["domains"] == {"a.example": 2, "b.example": 1}


def test_a_recipe_from_before_a_setting_that_asks_for_nothing_is_the_same() -> None:
    old = {"source": {"init_args": {"paths": "a"}}}
    new = {"source": {"init_args": {"paths": "a", "metadata_fields": []}}}
    assert differences(old, new) == []
    new["source"]["init_args"]["metadata_fields"] = ["url"]  # type: ignore[assignment]
    assert differences(old, new) == ["source.metadata_fields: None → ['url']"]
    assert differences(new, old) == ["source.metadata_fields: ['url'] → None"]
