"""Parquet: rows in their order over batches and files; a bad value costs its row."""

from __future__ import annotations

import contextlib
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roots import sources
from roots.errors import DataError
from roots.records import BadRow, Row
from roots.sources.rows import Parquet, parquet


def put(path, **columns) -> str:
    pq.write_table(pa.table(columns), path, row_group_size=7)
    return str(path)


def test_rows_come_in_order_over_batches_and_files(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(parquet, "_BATCH", 10)
    put(tmp_path / "a.parquet", text=[f"t{i}" for i in range(25)], label=list(range(25)))
    put(tmp_path / "b.parquet", text=["last"], label=[99])
    source = Parquet(paths=str(tmp_path))
    rows = list(source.rows())
    assert [r.fields["label"] for r in rows] == [*range(25), 99]
    assert rows[24].where == f"{tmp_path}/a.parquet:25"
    assert rows[25].where == f"{tmp_path}/b.parquet:1"
    assert [p.name for p in source.files()] == ["a.parquet", "b.parquet"]


def test_lists_and_nothing_come_as_python_has_them(tmp_path) -> None:
    path = put(tmp_path / "a.parquet", words=[["a", "b"], []], n=[None, math.pi])
    assert [dict(r.fields) for r in Parquet(paths=path).rows()] == [
        {"words": ["a", "b"], "n": None},
        {"words": [], "n": math.pi},
    ]


def test_an_undecodable_text_costs_its_row(tmp_path) -> None:
    raw = pa.array([b"one", b"caf\xe9", b"three"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    path = put(tmp_path / "a.parquet", text=text, label=[1, 2, 3])
    found = list(Parquet(paths=path).read())
    assert [row.fields["label"] for row in found if isinstance(row, Row)] == [1, 3]
    (bad,) = [row for row in found if isinstance(row, BadRow)]
    assert (bad.where, bad.reason) == (f"{path}:2", "unreadable value")
    assert "the value in column 'text' cannot be read ('utf-8' codec" in bad.message
    assert bad.content == {"text": "<string>", "label": 2}


@pytest.mark.parametrize("raw", [b"no parquet at all", b"PAR1PAR1", b"PAR1" + b"\0" * 50 + b"PAR1"])
def test_a_damaged_file_is_refused(tmp_path, raw) -> None:
    (tmp_path / "a.parquet").write_bytes(raw)
    source = Parquet(paths=str(tmp_path))
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as Parquet: .*fetch it"):
        list(source.read())
    put(tmp_path / "a.parquet", text=["cured"])
    assert len(list(source.read())) == 1


def test_a_column_that_comes_twice_is_refused(tmp_path) -> None:
    table = pa.table([[1], [2]], names=["a", "a"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"has the column 'a' 2 times"):
        list(Parquet(paths=str(tmp_path)).read())


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.none() | st.text(), st.none() | st.integers(-(2**63), 2**63 - 1)), min_size=1
    )
)
def test_what_pyarrow_writes_comes_back(tmp_path_factory, rows) -> None:
    texts, numbers = zip(*rows, strict=True)
    path = put(
        tmp_path_factory.mktemp("t") / "a.parquet",
        text=pa.array(texts, pa.string()),
        n=pa.array(numbers, pa.int64()),
    )
    assert [(r.fields["text"], r.fields["n"]) for r in Parquet(paths=path).rows()] == rows


@settings(max_examples=60, deadline=None)
@given(at=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_a_changed_byte_never_crashes_it(tmp_path_factory, at, value) -> None:
    path = tmp_path_factory.mktemp("t") / "a.parquet"
    put(path, text=[f"text {i}" for i in range(20)], n=list(range(20)))
    raw = bytearray(path.read_bytes())
    raw[int(at * len(raw))] = value
    path.write_bytes(raw)
    with contextlib.suppress(DataError):
        list(Parquet(paths=str(path)).read())


def test_a_name_that_is_no_utf8_is_told(tmp_path) -> None:
    path = tmp_path / "a.parquet"
    put(path, text=["a"], n=[1])
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"text", b"te\xfft", 1))
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        list(Parquet(paths=str(path)).read())
    with pytest.raises(DataError, match="no parquet file"):
        list(sources.Parquet(paths=str(path)).read())
