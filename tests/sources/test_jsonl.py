"""Jsonl: a bad record is named by file and line, with its cure."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from roots.errors import DataError
from roots.sources import Jsonl


def put(path: Path, *lines: object) -> str:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


def texts(source: Jsonl) -> list[str]:
    return [document.text for document in source.documents()]


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.jsonl.gz"])
def test_records_come_out_in_order(tmp_path, name) -> None:
    put(tmp_path / name, {"text": "one"}, "", {"text": "zwei\n根🌱", "more": 1}, "")
    source = Jsonl(paths=str(tmp_path))
    assert texts(source) == ["one", "zwei\n根🌱"]
    assert [Path(d.id).name for d in source.documents()] == [f"{name}:1", f"{name}:3"]


def test_fields_can_be_named(tmp_path) -> None:
    path = put(tmp_path / "a.jsonl", {"body": "one", "key": 7})
    (document,) = Jsonl(paths=path, text_field="body", id_field="key").documents()
    assert (document.text, document.id) == ("one", "7")


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ('{"text": "cut', r"a\.jsonl:2 is not JSON: .*It begins '\{\"text\": \"cut'"),
        ("[1]", r"a\.jsonl:2 is a list, not an object"),
        ({"body": "x", "a": 1}, r"a\.jsonl:2 has no key 'text'; its keys are: a, body"),
        ({}, "its keys are: none"),
        ({"text": None}, r"a\.jsonl:2: 'text' is null, not a string"),
        ({"text": 3.5}, "'text' is a number, not a string"),
    ],
)
def test_a_bad_record_is_named_by_line_and_cause(tmp_path, record, words) -> None:
    source = Jsonl(paths=put(tmp_path / "a.jsonl", {"text": "good"}, record))
    stream = source.documents()
    assert next(stream).text == "good", "what is before it was streamed"
    with pytest.raises(DataError, match=words):
        next(stream)
    put(tmp_path / "a.jsonl", {"text": "good"}, {"text": "mended"})
    assert texts(source) == ["good", "mended"]


def test_half_a_surrogate_pair_is_replaced_and_counted(tmp_path) -> None:
    source = Jsonl(paths=put(tmp_path / "a.jsonl", '{"text": "a\\ud83cb \\ud83c\\udf31"}'))
    assert texts(source) == ["a\ufffdb 🌱"]
    assert source.n_replaced == 1


def test_a_bad_byte_is_replaced_and_counted(tmp_path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "caf\xe9"}\n{"text": "b"}\n')
    source = Jsonl(paths=str(tmp_path))
    assert texts(source) == ["caf\ufffd", "b"]
    assert source.n_replaced == 1


def test_gzip_cut_short_is_named_with_the_last_line(tmp_path) -> None:
    path = tmp_path / "a.jsonl.gz"
    put(path, *[{"text": f"{i} {i * i}"} for i in range(2000)])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"a\.jsonl\.gz: the gzip data break after line 1,\d\d\d"):
        texts(Jsonl(paths=str(path)))
    path.write_bytes(b"not gzip at all")
    with pytest.raises(DataError, match=r"break after line 0"):
        texts(Jsonl(paths=str(path)))


def test_a_packing_that_is_not_read_says_how_to_unpack(tmp_path) -> None:
    path = put(tmp_path / "a.jsonl.xz", {"text": "x"})
    with pytest.raises(DataError, match=rf"\.xz are not read.*xz -d {path}"):
        texts(Jsonl(paths=path))


def test_a_nul_byte_is_placed_in_its_line(tmp_path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}\n{"text": "\x00"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2: byte 11 of it is NUL"):
        texts(Jsonl(paths=str(tmp_path)))
