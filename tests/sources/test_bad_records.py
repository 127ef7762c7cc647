"""Bad records of jsonl, csv and parquet: none of them costs another, and all are counted."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.corpus import Books, BytePairs, Corpus, Pii
from roots.errors import ConfigError, DataError, MissingExtra
from roots.records import Document, Reject
from roots.shards import ShardFolder
from roots.sources import Csv, Jsonl, Parquet, RecordSource, Several, opening

SKIP = {"on_bad_record": "skip", "max_bad_fraction": 1.0}
GOOD = [f'text {i}, with "quotes", 根 and\nlines' for i in range(20)]


def put_jsonl(path: Path, texts: list[str] = GOOD) -> Path:
    path.write_text("".join(json.dumps({"text": each}) + "\n" for each in texts))
    return path


def put_csv(path: Path, texts: list[str] = GOOD, delimiter: str = ",") -> Path:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerows(
        [("id", "text", "more"), *((f"n{i}", each, i) for i, each in enumerate(texts))]
    )
    path.write_text(file.getvalue(), newline="")
    return path


def put_parquet(path: Path, texts: list[str | None] = GOOD, rows: int = 5) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"id": [f"n{i}" for i in range(len(texts))], "text": texts})
    pq.write_table(table, path, row_group_size=rows, write_page_checksum=True, compression="none")
    return path


KINDS: dict[str, tuple[Callable[..., RecordSource], Callable[..., Path]]] = {
    "a.jsonl": (Jsonl, put_jsonl),
    "a.csv": (Csv, put_csv),
    "a.parquet": (Parquet, put_parquet),
}


def split(source: RecordSource) -> tuple[list[str], list[Reject]]:
    records = list(source.records())
    bad = [each for each in records if isinstance(each, Reject)]
    return [each.text for each in records if isinstance(each, Document)], bad


@pytest.mark.parametrize("name", KINDS)
def test_good_records_come_out_in_order_with_their_names(tmp_path, name) -> None:
    kind, put = KINDS[name]
    put(tmp_path / name)
    assert [each.text for each in kind(paths=str(tmp_path)).documents()] == GOOD
    ids = [each.id for each in kind(paths=str(tmp_path)).documents()]
    assert len(set(ids)) == 20
    assert all(each.startswith(f"{tmp_path / name}:") for each in ids)
    if kind is not Jsonl:
        named = kind(paths=str(tmp_path), id_field="id")
        assert [each.id for each in named.documents()] == [f"n{i}" for i in range(20)]


BAD = {
    "a.jsonl": [
        (b'{"text": "cut\n', "not_json"),
        (b"[1]\n", "no_object"),
        (b'{"body": "x"}\n', "no_key"),
        (b'{"text": 3}\n', "no_string"),
        (b'{"text": "\x00"}\n', "binary"),
        (b'{"text": ' + b"1" * 5000 + b"}\n", "not_json"),
        (b"[" * 100_000 + b"\n", "not_json"),
    ],
    "a.csv": [
        (b"only one\n", "wrong_columns"),
        (b"n,a,b,c\n", "wrong_columns"),
        (b'n,"never closed,3\n', "not_csv"),
        (b'n,"closed" and more,3\n', "not_csv"),
        (b"n,\x00,3\n", "binary"),
    ],
}


@pytest.mark.parametrize(
    ("name", "bad", "reason"), [(name, *each) for name, every in BAD.items() for each in every]
)
@pytest.mark.parametrize("place", [1, 3, 21])
def test_a_bad_record_is_an_error_or_is_left_out_and_costs_no_other(
    tmp_path, name, bad, reason, place
) -> None:
    kind, put = KINDS[name]
    path = put(tmp_path / name, [f"text {i}" for i in range(20)])
    whole = path.read_bytes().splitlines(keepends=True)
    at = min(place, len(whole))
    path.write_bytes(b"".join([*whole[:at], bad, *whole[at:]]))
    with pytest.raises(DataError, match=rf"a\.\w+:{at + 1}\b.* on_bad_record: skip|byte .* NUL"):
        list(kind(paths=str(path)).documents())
    good, rejects = split(kind(paths=str(path), **SKIP))
    assert good == [f"text {i}" for i in range(20)]
    assert [each.reason for each in rejects] == [reason]
    assert rejects[0].id == f"{path}:{at + 1}"
    assert rejects[0].raw in bad or bad.startswith(rejects[0].raw)


def test_a_null_and_a_damaged_row_group_of_parquet_cost_their_own_rows(tmp_path) -> None:
    texts = [None if i == 7 else f"text {i} " + "x" * 300 for i in range(20)]
    path = put_parquet(tmp_path / "a.parquet", texts)
    good, rejects = split(Parquet(paths=str(path), **SKIP))
    assert good == [each for each in texts if each is not None]
    assert [(each.reason, each.id) for each in rejects] == [("no_string", f"{path}:8")]
    damage(path, b"text 12 ")
    good, rejects = split(Parquet(paths=str(path), **SKIP))
    assert good == [each for i, each in enumerate(texts) if i != 7 and not 10 <= i < 15]
    assert [each.reason for each in rejects] == ["no_string", *["damaged_row_group"] * 5]
    assert [each.id for each in rejects[1:]] == [f"{path}:{row}" for row in range(11, 16)]
    put_parquet(path, texts[8:])
    damage(path, b"text 19 ")
    with pytest.raises(DataError, match=r"row group 2, whose 2 rows from 11 on cannot be read"):
        list(Parquet(paths=str(path)).documents())


def damage(path: Path, place: bytes) -> None:
    raw = bytearray(path.read_bytes())
    at = raw.index(place)
    raw[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(raw)


def test_bytes_that_are_no_utf8_are_replaced_in_all_of_them(tmp_path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text\ncaf\xe9\nb\n")
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": [b"caf\xe9", b"b"]}), tmp_path / "a.parquet")
    for kind in (Csv, Parquet):
        source = kind(paths=str(tmp_path))
        assert [each.text for each in source.documents()] == ["caf\ufffd", "b"]
        assert source.n_replaced == 1


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["a.jsonl", "a.csv"]), st.integers(0, 10**6), st.integers(0, 255))
def test_one_changed_byte_never_costs_the_records_of_other_lines(
    tmp_path_factory, name, place, byte
) -> None:
    kind, put = KINDS[name]
    texts = [f"text {i} of some length" for i in range(12)]
    path = put(tmp_path_factory.mktemp("fuzz") / name, texts)
    raw = bytearray(path.read_bytes())
    start = raw.index(b"\n") + 1 if kind is Csv else 0  # the header names the columns
    at = start + place % (len(raw) - start)
    touched = {raw[:at].count(b"\n"), raw[: at + 1].count(b"\n")}
    raw[at] = byte
    path.write_bytes(raw)
    good, _ = split(kind(paths=str(path), **SKIP))
    first = 1 if kind is Csv else 0
    for i, text in enumerate(texts):
        if i + first not in touched:
            assert text in good


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.sampled_from('a,"\n\r;\t 根'), max_size=8), min_size=1, max_size=9))
def test_whatever_csv_writes_is_read(tmp_path_factory, texts) -> None:
    path = put_csv(tmp_path_factory.mktemp("csv") / "a.tsv", texts, delimiter="\t")
    assert [each.text for each in Csv(paths=str(path)).documents()] == texts


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(["a.jsonl", "a.csv"]))
def test_no_bytes_make_a_reader_fail_otherwise_than_by_a_data_error(
    tmp_path_factory, raw, name
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / name
    path.write_bytes((b"text,more\n" if name == "a.csv" else b"\n") + raw)
    split(KINDS[name][0](paths=str(path), **SKIP))


def test_more_bad_records_than_allowed_are_refused_and_the_cure_is_enough(tmp_path) -> None:
    path = put_jsonl(tmp_path / "a.jsonl")
    path.write_text(path.read_text() + "nothing\n[]\n[]\n")

    def read(fraction: float) -> None:
        list(Jsonl(paths=str(path), on_bad_record="skip", max_bad_fraction=fraction).records())

    with pytest.raises(
        DataError, match=r"3 of 23 records are bad \(2 no_object, 1 not_json\)"
    ) as e:
        read(0.1)
    assert f"The first: {path}:21 is not JSON" in str(e.value)
    enough = float(str(e.value).rpartition("max_bad_fraction to ")[2].split(" ")[0])
    read(enough)
    with pytest.raises(DataError):
        read(enough - 0.001)


@pytest.mark.parametrize("kind", [Jsonl, Csv, Parquet])
def test_skip_needs_a_fraction_and_a_fraction_needs_skip(kind) -> None:
    with pytest.raises(ConfigError, match=r"skip needs a max_bad_fraction above 0"):
        kind(paths="x", on_bad_record="skip")
    with pytest.raises(ConfigError, match=r"max_bad_fraction=0\.1 has no meaning"):
        kind(paths="x", max_bad_fraction=0.1)
    with pytest.raises(ConfigError, match=r"'ignore' is neither error nor skip"):
        kind(paths="x", on_bad_record="ignore")
    kind(paths="x", on_bad_record="skip", max_bad_fraction=0.1)


@pytest.mark.parametrize("stages", [[], [Pii()]])
def test_a_corpus_counts_rejects_and_writes_them_down(tmp_path, stages) -> None:
    path = put_jsonl(tmp_path / "a.jsonl", [f"text {i}" for i in range(30)])
    path.write_text(path.read_text() + '{"text": 3, "by": "A@b.io"}\n{"text": "last"}\nx\n')
    source = Jsonl(paths=str(path), on_bad_record="skip", max_bad_fraction=0.2)
    made = Corpus(
        source=Several(sources={"web": source}),
        out=str(tmp_path / "out"),
        stages=stages,
        tokenizer=BytePairs(vocab_size=300),
        val_fraction=0,
        workers=1,
    )
    manifest = ShardFolder.open(made.prepare(progress=False)).manifest
    assert manifest.records_rejected == {"no_string": 1, "not_json": 1}
    assert manifest.documents_read == 31
    lines = (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()
    written = [json.loads(line) for line in lines]
    assert [each["id"] for each in written] == [f"{path}:31", f"{path}:33"]
    assert [each["source"] for each in written] == ["web", "web"]
    mail = "<EMAIL>" if stages else "A@b.io"
    assert written[0]["raw"] == f'{{"text": 3, "by": "{mail}"}}\n'
    assert "is a number, not a string" in written[0]["cause"]
    assert Books.from_plain(manifest.books).sources == ["web"]
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:30]))
    made.prepare(progress=False)
    assert not (tmp_path / "out" / "rejects.jsonl").exists()


def compressed(path: Path, raw: bytes) -> Path:
    zstandard = pytest.importorskip("zstandard", reason="needs the extra `corpus`")
    half = raw.index(b"\n", len(raw) // 2)
    frames = [zstandard.ZstdCompressor().compress(each) for each in (raw[:half], raw[half:])]
    path.write_bytes(b"".join(frames))
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_zst_is_read_frame_after_frame_and_a_cut_is_told(tmp_path, name) -> None:
    kind, put = KINDS[name]
    raw = put(tmp_path / name, GOOD * 500).read_bytes()
    (tmp_path / name).unlink()
    path = compressed(tmp_path / f"{name}.zst", raw)
    assert [each.text for each in kind(paths=str(tmp_path)).documents()] == GOOD * 500
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(
        DataError, match=r"zstd data break after line .*ends within a frame.*zstd -t"
    ):
        list(kind(paths=str(path), **SKIP).records())
    path.write_bytes(whole[:40] + b"\x00" * 40 + whole[80:])
    with pytest.raises(DataError, match=r"the zstd data break after line"):
        list(kind(paths=str(path), **SKIP).records())


def test_gz_of_a_table_is_read(tmp_path) -> None:
    raw = put_csv(tmp_path / "a.csv").read_bytes()
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(raw))
    assert [each.text for each in Csv(paths=str(tmp_path)).documents()] == GOOD * 2


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("roots.sources.zstd.find_spec", lambda _: None)
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(b"x")
    with pytest.raises(MissingExtra, match=r"needs zstandard.*roots-lm\[corpus\]"):
        list(Jsonl(paths=str(path)).documents())


def test_a_line_over_the_limit_is_left_out_and_the_next_is_read(tmp_path, monkeypatch) -> None:
    for module in ("opening", "record_source", "csv_table"):
        monkeypatch.setattr(f"roots.sources.{module}.MAX_DOCUMENT_BYTES", 100)
    path = put_jsonl(tmp_path / "a.jsonl", ["a", "b" * 300, "c"])
    good, rejects = split(Jsonl(paths=str(path), **SKIP))
    assert good == ["a", "c"]
    assert [(each.reason, each.id) for each in rejects] == [("too_large", f"{path}:2")]
    offsets = [offset for _, offset, _ in opening.numbered_lines(path)]
    assert offsets == [0, len('{"text": "a"}\n'), path.read_bytes().rindex(b"{")]


@pytest.mark.parametrize(
    ("settings_", "words"),
    [
        ({"text_field": "body"}, r"a\.csv has no column 'body'; its columns are: id, text, more"),
        ({"id_field": "key"}, r"no column 'key'.*Set id_field"),
    ],
)
def test_a_column_that_is_not_there_is_named(tmp_path, settings_, words) -> None:
    put_csv(tmp_path / "a.csv")
    with pytest.raises(DataError, match=words):
        list(Csv(paths=str(tmp_path), **settings_, **SKIP).documents())


@pytest.mark.parametrize(
    ("header", "settings_", "words"),
    [
        ("text,text,,", {}, r"a\.csv has 2 columns 'text': text, text, , \. Nothing tells which"),
        ("text,id, id,", {"id_field": "id"}, r"2 columns 'id': text, id, id, .* rename the others"),
        ("text,url,url,", {"metadata_fields": ["url"]}, r"2 columns 'url': text, url, url, "),
    ],
)
def test_a_column_that_is_there_twice_is_refused_where_it_is_read(
    tmp_path, header, settings_, words
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\na,b,c,d\n")
    with pytest.raises(DataError, match=words):
        list(Csv(paths=str(path), **settings_).documents())
    path.write_text("text,other,other,,\na,b,c,d,e\n")
    assert [document.text for document in Csv(paths=str(path)).documents()] == ["a"]


def test_a_column_of_numbers_and_a_file_that_is_no_parquet_are_refused(tmp_path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": [1, 2], "body": ["a", "b"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"the column 'text' holds int64, no texts"):
        list(Parquet(paths=str(tmp_path)).documents())
    with pytest.raises(DataError, match=r"no column 'txt'; its columns are: text, body"):
        list(Parquet(paths=str(tmp_path), text_field="txt").documents())
    assert len(list(Parquet(paths=str(tmp_path), text_field="body").documents())) == 2
    (tmp_path / "a.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match=r"a\.parquet is no parquet file"):
        list(Parquet(paths=str(tmp_path)).documents())


@pytest.mark.parametrize("delimiter", [";;", '"', "\n"])
def test_a_delimiter_that_cannot_be_one_is_refused(delimiter) -> None:
    with pytest.raises(ConfigError, match=r"must be one character, no quote and no line end"):
        Csv(paths="x", delimiter=delimiter)


def test_random_damage_of_parquet_is_a_data_error_or_costs_whole_row_groups(tmp_path) -> None:
    texts = [f"text {i} " + "abc" * 50 for i in range(40)]
    path = put_parquet(tmp_path / "a.parquet", texts, rows=10)
    whole, rng = path.read_bytes(), random.Random(1)
    for _ in range(60):
        raw = bytearray(whole)
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        path.write_bytes(raw)
        try:
            good, rejects = split(Parquet(paths=str(path), **SKIP))
        except DataError:
            continue
        assert len(good) + len(rejects) == 40


def test_a_row_of_which_one_line_is_no_text_is_one_bad_row(tmp_path: Path) -> None:
    rows = b'id,text\n1,"line one\nline \0two\nline three"\n2,whole\n'
    (tmp_path / "a.csv").write_bytes(rows)
    good, bad = split(Csv(paths=str(tmp_path), **SKIP))
    assert good == ["whole"]
    assert [(each.id, each.reason) for each in bad] == [(f"{tmp_path}/a.csv:2", "binary")]
    assert "a row of several lines, one of which is no text" in bad[0].cause


def test_a_carriage_return_within_a_row_is_told_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text\nfirst\rsecond\nthird\n")
    good, bad = split(Csv(paths=str(tmp_path), **SKIP))
    assert good == ["third"]
    assert r"It has a carriage return (\r) that ends no line" in bad[0].cause


def test_a_null_id_is_no_name(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a", "id": null}\n{"text": "b", "id": 7}\n')
    documents = list(Jsonl(paths=str(tmp_path), id_field="id").documents())
    assert [each.id for each in documents] == [f"{tmp_path}/a.jsonl:1", "7"]


def test_endings_in_capitals_count(tmp_path: Path) -> None:
    put_jsonl(tmp_path / "a.jsonl", ["small"])
    put_jsonl(tmp_path / "B.JSONL", ["large"])
    (tmp_path / "C.JSONL.GZ").write_bytes(gzip.compress(b'{"text": "packed"}\n'))
    found = [each.text for each in Jsonl(paths=str(tmp_path)).documents()]
    assert sorted(found) == ["large", "packed", "small"]


@pytest.mark.parametrize(("name", "by"), [("b.jsonl.gz", "gzip"), ("b.jsonl.zst", "zstandard")])
def test_a_compressed_file_of_no_bytes_is_refused_wherever_it_is_found(
    tmp_path: Path, name: str, by: str
) -> None:
    packer = pytest.importorskip(by)
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / name).write_bytes(b"")
    for paths in (str(tmp_path), f"{tmp_path}/*"):
        with pytest.raises(DataError, match=rf"{name} is empty \(0 bytes\).* Fetch it again"):
            list(Jsonl(paths=paths).documents())
    (tmp_path / name).write_bytes(packer.compress(b""))
    assert [each.text for each in Jsonl(paths=str(tmp_path)).documents()] == ["a"]


@pytest.mark.parametrize("head", [b'n,"text\n', b"n,te\0xt\n"])
def test_a_bad_row_of_names_is_an_error_even_where_bad_rows_are_left_out(tmp_path, head) -> None:
    (tmp_path / "a.csv").write_bytes(head + b"1,one\n2,two\n")
    source = Csv(paths=str(tmp_path), on_bad_record="skip", max_bad_fraction=0.9)
    with pytest.raises(DataError, match=r"a\.csv:1.* It should be the row of the columns' names"):
        list(source.documents())
