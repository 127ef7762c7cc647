"""JsonRows: objects on lines and in arrays; a bad one is named and costs itself."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.errors import DataError
from roots.records import BadRow, Row
from roots.sources.rows import JsonRows


def put(path: Path, content: str | bytes) -> str:
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return str(path)


def good(source: JsonRows) -> list[dict]:
    return [dict(row.fields) for row in source.read() if isinstance(row, Row)]


def refused(source: JsonRows) -> list[BadRow]:
    return [row for row in source.read() if isinstance(row, BadRow)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "a.jsonl.gz"])
def test_a_line_is_a_row(tmp_path, name) -> None:
    path = put(tmp_path / name, '\ufeff{"text": "eins", "n": 1}\n\n  \n{"words": ["根", "🌱"]}')
    rows = list(JsonRows(paths=path).rows())
    assert [r.fields for r in rows] == [{"text": "eins", "n": 1}, {"words": ["根", "🌱"]}]
    assert [r.where for r in rows] == [f"{path}:1", f"{path}:4"]


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_an_array_is_read_whole_and_its_rows_are_named_by_place(tmp_path, name) -> None:
    path = put(tmp_path / name, json.dumps([{"a": 1}, 7, {"a": "\ud83c"}, {"a": 2}], indent=2))
    source = JsonRows(paths=path)
    assert good(source) == [{"a": 1}, {"a": 2}]
    number, half = refused(source)
    assert number.message == f"{path}[1] is a number, not an object. Each row must be an object."
    assert (half.where, half.reason) == (f"{path}[2]", "half a surrogate pair")


def test_a_broken_array_is_refused_with_line_and_column_and_the_cure_works(tmp_path) -> None:
    source = JsonRows(paths=put(tmp_path / "a.json", '[{"a": 1},\n {"a": }]'))
    with pytest.raises(DataError, match=r"a\.json is not JSON: .*line 2 column 8.*\.jsonl"):
        list(source.read())
    put(tmp_path / "a.jsonl", '{"a": 1}\n{"a": }\n')
    assert good(JsonRows(paths=f"{tmp_path}/a.jsonl")) == [{"a": 1}]


@pytest.mark.parametrize(
    ("line", "reason", "words"),
    [
        ('{"text": "cut', "bad JSON", "is not JSON: Unterminated string"),
        ("[1]", "not an object", "is a list, not an object"),
        ("9" * 5_000, "bad JSON", "is not JSON: Exceeds the limit"),
        ("[" * 100_000, "bad JSON", "is not JSON"),
        (r'{"a": {"b": ["\ud83c"]}}', "half a surrogate pair", "Write the whole pair"),
        (b'{"a": "caf\xe9"}', "undecodable bytes", "byte 19 of the file (0xe9) is not utf-8"),
    ],
)
def test_a_bad_line_costs_itself(tmp_path, line, reason, words) -> None:
    raw = line if isinstance(line, bytes) else line.encode()
    path = put(tmp_path / "a.jsonl", b'{"a": 1}\n' + raw + b'\n{"a": "\\ud83c\\udf31"}\n')
    source = JsonRows(paths=path)
    assert good(source) == [{"a": 1}, {"a": "🌱"}]
    (bad,) = refused(source)
    assert (bad.where, bad.reason) == (f"{path}:2", reason)
    assert words in bad.message
    with pytest.raises(DataError, match=r"a\.jsonl:2"):
        list(source.rows())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
OBJECTS = st.lists(st.dictionaries(st.text(), JSON, max_size=4), max_size=6)


@settings(max_examples=100, deadline=None)
@given(objects=OBJECTS, ascii=st.booleans(), array=st.booleans())
def test_what_json_writes_comes_back(tmp_path_factory, objects, ascii, array) -> None:
    lines = [json.dumps(o, ensure_ascii=ascii) for o in objects]
    content = f"[{','.join(lines)}]" if array else "\n".join(lines) + "\n"
    path = put(tmp_path_factory.mktemp("t") / "a.json", content)
    assert good(JsonRows(paths=path)) == objects


@settings(max_examples=200, deadline=None)
@given(noise=st.lists(st.binary(max_size=30), max_size=5), seed=st.randoms())
def test_noise_between_good_lines_loses_none_of_them(tmp_path_factory, noise, seed) -> None:
    lines = [*(b'{"n": %d}' % i for i in range(4)), *(n.replace(b"\n", b"") for n in noise)]
    seed.shuffle(lines)
    path = put(tmp_path_factory.mktemp("t") / "a.jsonl", b'{"n": -1}\n' + b"\n".join(lines))
    found = list(JsonRows(paths=path).read())
    assert {-1, *range(4)} <= {row.fields.get("n") for row in found if isinstance(row, Row)}
    assert len(found) >= 5
