"""Parquet: columns beside the text, and such as come twice."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from roots.errors import DataError
from roots.sources import Parquet

TEXTS = ["the cat", "a dog", "one bird"]


def strings(*raws: bytes | None) -> pa.Array:
    """A column that says it holds strings; nobody checks when it is written."""
    raw = pa.array(raws, pa.binary())
    return pa.Array.from_buffers(pa.string(), len(raws), raw.buffers())


def test_a_bad_byte_in_an_id_costs_no_row(tmp_path: Path) -> None:
    table = {
        "text": TEXTS,
        "id": strings(b"a", b"caf\xe9", b"c"),
        "license": strings(b"mit", None, b"\xff"),
        "year": [1, 2, None],
    }
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    source = Parquet(
        paths=str(tmp_path), id_field="id", metadata_fields=["license", "year", "id", "none"]
    )
    documents = list(source.documents())
    assert [each.text for each in documents] == TEXTS
    assert [each.id for each in documents] == ["a", r"caf\xe9", "c"]
    assert [each.metadata for each in documents] == [
        {"license": "mit", "year": 1, "id": "a"},
        {"license": None, "year": 2, "id": r"caf\xe9"},
        {"license": r"\xff", "year": None, "id": "c"},
    ]


@pytest.mark.parametrize("twice", ["text", "id", "license"])
def test_a_column_that_comes_twice_is_refused_and_the_cure_works(
    tmp_path: Path, twice: str
) -> None:
    names = ["text", "id", "license", twice]
    table = pa.table([TEXTS, ["a", "b", "c"], ["mit"] * 3, ["x", "y", "z"]], names=names)
    pq.write_table(table, tmp_path / "a.parquet")
    source = Parquet(paths=str(tmp_path), id_field="id", metadata_fields=["license"])
    with pytest.raises(DataError, match=rf"a\.parquet has 2 columns '{twice}', .* another name"):
        list(source.documents())
    pq.write_table(table.rename_columns([*names[:3], "other"]), tmp_path / "a.parquet")
    assert [each.text for each in source.documents()] == TEXTS


@pytest.mark.parametrize(
    "kind",
    [
        pa.string_view(),
        pa.binary_view(),
        pa.large_string(),
        pa.dictionary(pa.int8(), pa.string()),
    ],
    ids=str,
)
def test_texts_of_every_type_are_read(tmp_path: Path, kind: pa.DataType) -> None:
    index = pa.array([0, 1, 2], getattr(kind, "index_type", pa.int32()))
    if pa.types.is_dictionary(kind):
        texts = pa.DictionaryArray.from_arrays(index, pa.array(TEXTS, kind.value_type))
    else:
        texts = pa.array(TEXTS, kind)
    pq.write_table(pa.table({"text": texts, "id": texts}), tmp_path / "a.parquet")
    assert pq.read_schema(tmp_path / "a.parquet").field("text").type == kind
    documents = list(Parquet(paths=str(tmp_path), id_field="id").documents())
    assert [each.text for each in documents] == TEXTS
    if "binary" not in str(kind):
        assert [each.id for each in documents] == TEXTS


def test_a_row_without_its_id_is_named_by_its_place(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": TEXTS, "id": ["a", None, "c"]}), tmp_path / "a.parquet")
    documents = list(Parquet(paths=str(tmp_path), id_field="id").documents())
    assert [each.id for each in documents] == ["a", f"{tmp_path}/a.parquet:2", "c"]


def test_lists_of_strings_are_no_texts_and_stay_lists_beside_them(tmp_path: Path) -> None:
    tags = [["a", "b"], [], None]
    pq.write_table(pa.table({"text": TEXTS, "tags": tags}), tmp_path / "a.parquet")
    source = Parquet(paths=str(tmp_path), metadata_fields=["tags"])
    assert [each.metadata["tags"] for each in source.documents()] == tags
    with pytest.raises(DataError, match=r"'tags' holds list<.*>, no texts"):
        list(Parquet(paths=str(tmp_path), text_field="tags").documents())


def test_a_nul_in_a_text_is_placed_in_its_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["one", "t\0o"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet:2: byte 2 of it is NUL, which no text has"):
        list(Parquet(paths=str(tmp_path)).documents())
