"""Delimited: rows of tables in their order, and what one bad row costs: itself."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.errors import ConfigError, DataError
from roots.records import BadRow, Row
from roots.sources.rows import Delimited, rows_from, table_lines


def put(path: Path, content: str | bytes) -> str:
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return str(path)


def good(source: Delimited) -> list[dict]:
    return [dict(row.fields) for row in source.read() if isinstance(row, Row)]


def refused(source: Delimited) -> list[BadRow]:
    return [row for row in source.read() if isinstance(row, BadRow)]


def test_a_tsv_takes_quotes_as_they_are(tmp_path) -> None:
    path = put(tmp_path / "a.tsv", 'sentence\tlabel\n"it\'s " fine\t1\r\n\na\rb"\t\n')
    rows = list(Delimited(paths=path).rows())
    assert [dict(r.fields) for r in rows] == [
        {"sentence": '"it\'s " fine', "label": "1"},
        {"sentence": 'a\rb"', "label": ""},
    ]
    assert [r.where for r in rows] == [f"{path}:2", f"{path}:4"], "a blank line is passed over"


def test_a_csv_reads_quoted_delimiters_newlines_and_quotes(tmp_path) -> None:
    path = put(tmp_path / "a.csv", '\ufefftext,label\n"a, b\nc ""d""",1\r\n5" pipe,2\n')
    rows = list(Delimited(paths=path).rows())
    assert [r.fields["text"] for r in rows] == ['a, b\nc "d"', '5" pipe']
    assert [r.where for r in rows] == [f"{path}:2", f"{path}:4"], "named by the first line"


def test_a_tsv_with_quotes_around_values_is_read_by_the_setting(tmp_path) -> None:
    path = put(tmp_path / "a.tsv", 'a\tb\n"x\ty"\t1\n')
    with pytest.raises(DataError, match=r"a\.tsv:2 has 3 values .* 2 columns \(a, b\).*to csv"):
        list(Delimited(paths=path).rows())
    assert good(Delimited(paths=path, quoting="csv")) == [{"a": "x\ty", "b": "1"}]


def test_unequal_columns_cost_one_row_and_the_cure_works(tmp_path) -> None:
    path = put(tmp_path / "a.csv", "text,label\ngood,1\nwell, then,0\nshort\ngood,2\n")
    source = Delimited(paths=path)
    assert [f["label"] for f in good(source)] == ["1", "2"]
    three, one = refused(source)
    assert (three.where, three.reason) == (f"{path}:3", "unequal columns")
    assert "has 3 values and the table 2 columns (text, label). Put a value" in three.message
    assert three.content == ["well", " then", "0"]
    assert one.where == f"{path}:4"
    put(tmp_path / "a.csv", 'text,label\ngood,1\n"well, then",0\nshort,\ngood,2\n')
    assert len(list(source.rows())) == 4


def test_an_unclosed_quote_costs_its_line_and_not_the_rest(tmp_path) -> None:
    lines = [f'{i},"text {i}"\n' for i in range(2_000)]
    lines[3] = '3,"never closed\n'
    lines[1_500] = '1500,"closed" too early\n'
    source = Delimited(paths=put(tmp_path / "a.csv", "id,text\n" + "".join(lines)))
    assert {int(f["id"]) for f in good(source)} == set(range(2_000)) - {3, 1_500}
    first, second = refused(source)
    assert first.where.endswith("a.csv:5")
    assert first.reason == "broken quotes"
    assert "double the quotes inside it, or set quoting to none" in first.message
    assert second.content == '1500,"closed" too early'
    assert len(good(Delimited(paths=source.paths, quoting="none"))) == 2_000


def test_many_unclosed_quotes_before_empty_values_do_not_cost_the_file_each(
    tmp_path, monkeypatch
) -> None:
    """Inside an open quote each `""` is a quote sign, so nothing closes it to the file's end."""
    monkeypatch.setattr(table_lines, "MAX_LINES", 20)
    lines = [f'{i},""\n' for i in range(1_000)]
    lines[::100] = [f'{i},"open\n' for i in range(0, 1_000, 100)]
    lines[50] = '50,"' + "a line\n" * 18 + 'the last"\n'
    source = Delimited(paths=put(tmp_path / "a.csv", "id,text\n" + "".join(lines)))
    assert len(good(source)) == 990
    first, *_, last = refused(source)
    assert "a quote is still open after 20 lines" in first.message
    assert "to none" in last.message


def test_an_unclosed_quote_on_the_last_lines_is_found(tmp_path) -> None:
    source = Delimited(paths=put(tmp_path / "a.csv", 'id,text\n1,a\n2,"b\n3,c\n'))
    assert [f["id"] for f in good(source)] == ["1", "3"]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz"])
def test_a_bad_byte_costs_its_row_and_names_its_place(tmp_path, name) -> None:
    sign = b"\t" if "tsv" in name else b","
    raw = b"text,label\ncaf\xe9,1\nfine,2\nn\0l,3\n".replace(b",", sign)
    source = Delimited(paths=put(tmp_path / name, raw))
    assert [f["label"] for f in good(source)] == ["2"]
    first, second = refused(source)
    assert "byte 14 of the file (0xe9) is not utf-8" in first.message
    assert first.reason == second.reason == "undecodable bytes"
    assert first.content == rf"caf\xe9{sign.decode()}1"
    assert "byte 26 of the file is NUL" in second.message
    cured = Delimited(paths=source.paths, encoding="latin-1")
    assert [f["text"] for f in good(cured)] == ["café", "fine"]


def test_the_place_of_a_bad_byte_counts_the_byte_order_mark(tmp_path) -> None:
    raw = b"\xef\xbb\xbfa\tb\nx\t\xff\n"
    (bad,) = refused(Delimited(paths=put(tmp_path / "a.tsv", raw)))
    assert f"byte {raw.index(0xFF)} of the file (0xff)" in bad.message


def test_a_table_without_a_header_takes_the_columns_given(tmp_path) -> None:
    path = put(tmp_path / "cola.tsv", "gj04\t1\t\tA sentence.\n")
    source = Delimited(paths=path, columns=["source", "label", "star", "sentence"])
    assert good(source) == [{"source": "gj04", "label": "1", "star": "", "sentence": "A sentence."}]
    put(tmp_path / "cola.tsv", "source\tlabel\tstar\tsentence\ngj04\t1\t\tA sentence.\n")
    with pytest.raises(ConfigError, match=r"has a header line, source, .* Leave `columns` out"):
        good(source)
    assert len(good(Delimited(paths=path))) == 1


def test_each_file_has_its_own_header_and_delimiter(tmp_path) -> None:
    put(tmp_path / "a.csv", "label,text\n1,one\n")
    put(tmp_path / "b.tsv", "text\tlabel\ntwo\t2\n")
    source = Delimited(paths=str(tmp_path))
    assert [(f["text"], f["label"]) for f in good(source)] == [("one", "1"), ("two", "2")]
    assert [path.name for path in source.files()] == ["a.csv", "b.tsv"]


def test_a_delimiter_can_be_given_and_must_be_where_the_ending_is_silent(tmp_path) -> None:
    path = put(tmp_path / "a.txt", "text|label\none|1\n")
    with pytest.raises(ConfigError, match=r"ends in '\.txt'.*Set delimiter"):
        good(Delimited(paths=path))
    assert good(Delimited(paths=path, delimiter="|")) == [{"text": "one", "label": "1"}]


def test_a_value_may_be_longer_than_the_csv_module_allows_at_first(tmp_path) -> None:
    text = "x" * 300_000
    path = put(tmp_path / "a.csv", f'text,label\n"{text}",1\n')
    assert good(Delimited(paths=path)) == [{"text": text, "label": "1"}]


def test_a_carriage_return_outside_quotes_is_called_what_it_is(tmp_path) -> None:
    source = Delimited(paths=put(tmp_path / "a.csv", "a,b\nx\ry,1\nz,2\n"))
    (bad,) = refused(source)
    assert "a carriage return stands outside quotes" in bad.message
    assert good(source) == [{"a": "z", "b": "2"}]
    assert len(good(Delimited(paths=source.paths, quoting="none"))) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b,a\n1,2,3\n", r"a\.csv:1, the header, names 'a' 2 times. Mend the first line"),
        (b"a,\xff\n1,2\n", r"The header cannot be read: .*a\.csv:1: byte 2 of the file"),
    ],
)
def test_a_bad_header_is_refused_as_a_whole(tmp_path, content, words) -> None:
    source = Delimited(paths=put(tmp_path / "a.csv", content))
    with pytest.raises((ConfigError, DataError), match=words):
        good(source)
    put(tmp_path / "a.csv", "a,b,c\n1,2,3\n")
    assert len(good(source)) == 1


def test_settings_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"quoting='all' is none of auto, csv, none"):
        Delimited(paths="x", quoting="all")
    with pytest.raises(ConfigError, match=r"delimiter='::' cannot stand between values"):
        Delimited(paths="x", delimiter="::")
    with pytest.raises(ConfigError, match=r"columns names 'a' 2 times"):
        Delimited(paths="x", columns=["a", "a"])
    with pytest.raises(ConfigError, match=r"encoding='klingon' is none in which"):
        Delimited(paths="x", encoding="klingon")


def test_utf_16_is_called_by_its_name(tmp_path) -> None:
    path = put(tmp_path / "a.csv", "a,b\n1,2\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"a\.csv is UTF-16.*iconv"):
        good(Delimited(paths=path))


def test_a_gzip_cut_short_is_an_error_of_the_file(tmp_path) -> None:
    path = tmp_path / "a.csv.gz"
    put(path, "a,b\n" + "".join(f"{i},{i * i}\n" for i in range(5_000)))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"a\.csv\.gz: the gzip data break after line \d,\d\d\d"):
        good(Delimited(paths=str(path)))


VALUES = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.tuples(VALUES, VALUES), max_size=8), quote_all=st.booleans())
def test_what_the_csv_module_writes_comes_back(tmp_path_factory, rows, quote_all) -> None:
    text = io.StringIO()
    ways = {"lineterminator": "\n", "quoting": csv.QUOTE_ALL} if quote_all else {}
    writer = csv.writer(text, **ways)
    writer.writerows([("a", "b"), *rows])
    path = put(tmp_path_factory.mktemp("t") / "a.csv", text.getvalue())
    assert [tuple(f.values()) for f in good(Delimited(paths=path))] == rows


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=60), quoting=st.sampled_from(["csv", "none"]))
def test_no_bytes_crash_it_and_the_good_rows_before_them_stay(
    tmp_path_factory, raw, quoting
) -> None:
    raw = raw.replace(b"\xff\xfe", b"").replace(b"\xfe\xff", b"")
    path = put(tmp_path_factory.mktemp("t") / "a.csv", b"a,b\n1,one\n2,two\n" + raw)
    found = list(Delimited(paths=path, quoting=quoting).read())
    assert [dict(row.fields) for row in found[:2]] == [
        {"a": "1", "b": "one"},
        {"a": "2", "b": "two"},
    ]
    lines = [line for line in raw.split(b"\n") if line.strip(b"\r\n")]
    assert quoting == "csv" or len(found) == 2 + len(lines) or raw.count(b"\r") > 0


@settings(max_examples=100, deadline=None)
@given(noise=st.lists(st.binary(max_size=20), max_size=6), seed=st.randoms())
def test_lines_without_sense_between_good_ones_lose_none_of_them(
    tmp_path_factory, noise, seed
) -> None:
    """In a tsv a line is a row, so nothing can reach over to the next."""
    good_lines = [f"text {i}\t{i}".encode() for i in range(5)]
    lines = [*good_lines, *(n.replace(b"\n", b"") for n in noise)]
    seed.shuffle(lines)
    path = put(tmp_path_factory.mktemp("t") / "a.tsv", b"\n".join([b"text\tlabel", *lines]))
    found = {f["text"] for f in good(Delimited(paths=path))}
    assert {f"text {i}" for i in range(5)} <= found


def test_an_ending_in_capitals_is_the_same_ending(tmp_path) -> None:
    (tmp_path / "x.TSV.GZ").write_bytes(gzip.compress(b"text\tlabel\nthe cat\tcat\n"))
    (row,) = rows_from(str(tmp_path / "x.TSV.GZ")).read()
    assert row.fields == {"text": "the cat", "label": "cat"}
