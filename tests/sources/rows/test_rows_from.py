"""rows_from: a path is enough where the ending says what is in the file."""

from __future__ import annotations

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from roots.errors import ConfigError, DataError
from roots.records import plain, rebuild
from roots.sources.rows import (
    Conll,
    Delimited,
    HuggingFaceRows,
    JsonRows,
    ParallelText,
    Parquet,
    RowSource,
    Squad,
    rows_from,
)

SQUAD = {"data": [{"title": "t", "paragraphs": [{"context": "c", "qas": []}]}]}


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.csv", "a\n1\n", Delimited),
        ("A.TSV", "a\n1\n", Delimited),
        ("a.jsonl", '{"a": 1}', JsonRows),
        ("a.json", '[{"a": 1}]', JsonRows),
        ("lines.json", '{"data": 1}\n{"data": 2}', JsonRows),
        ("a.conll", "a\tO\n", Conll),
        ("squad.json", json.dumps({"version": "v2.0"} | SQUAD), Squad),
        ("squad1.json", json.dumps(SQUAD, indent=1), Squad),
    ],
)
def test_the_ending_and_the_head_choose_the_reader(
    tmp_path, monkeypatch, name, content, kind
) -> None:
    monkeypatch.setenv("MY_ROWS", str(tmp_path))
    (tmp_path / name).write_text(content)
    source = rows_from(f"${{MY_ROWS}}/{name}")
    assert type(source) is kind
    assert source.paths == f"${{MY_ROWS}}/{name}", "the variable stays in what is saved"
    assert [row.fields for row in source.rows()] or kind is Squad


def test_parquet_and_saved_datasets_are_known(tmp_path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    assert type(rows_from(str(tmp_path))) is Parquet
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "dataset_dict.json").write_text("{}")
    assert type(rows_from([str(saved)])) is HuggingFaceRows


def test_several_files_of_one_kind_are_one_source(tmp_path) -> None:
    for name, row in (("b.tsv", "two"), ("a.csv", "one")):
        (tmp_path / name).write_text(f"text\n{row}\n")
    source = rows_from([f"{tmp_path}/b.tsv", f"{tmp_path}/a.csv"])
    assert [row.fields["text"] for row in source.rows()] == ["one", "two"], "sorted by name"
    (tmp_path / "c.jsonl").write_text('{"text": "three"}')
    with pytest.raises(
        ConfigError, match=r"a\.csv is read by Delimited and \S*c\.jsonl by JsonRows"
    ):
        rows_from(str(tmp_path))
    assert len(list(rows_from(f"{tmp_path}/?.?sv").rows())) == 2


def test_a_path_is_read_as_its_name_is(tmp_path) -> None:
    (tmp_path / "a.csv").write_text("text\none\n")
    for source in (rows_from(tmp_path / "a.csv"), rows_from([tmp_path / "a.csv"])):
        assert [row.fields["text"] for row in source.rows()] == ["one"]
        assert rebuild(plain(source), RowSource).paths == source.paths
    assert rows_from(tmp_path / "a.csv").paths == f"{tmp_path}/a.csv"


def test_an_ending_that_says_nothing_is_refused_with_what_to_write(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("text\nx\n")
    with pytest.raises(ConfigError, match=r"\.csv, \.tsv.*class_path: roots\.sources\.rows\.Delim"):
        rows_from(f"{tmp_path}/a.txt")
    reader = Delimited(paths=f"{tmp_path}/a.txt", delimiter="\t")
    assert rows_from(reader) is reader
    assert len(list(reader.rows())) == 1
    with pytest.raises(DataError, match=r"nothing\.csv does not exist"):
        rows_from(f"{tmp_path}/nothing.csv")


def test_the_readers_cost_no_torch_and_no_arrow_until_they_are_used() -> None:
    """Another process, because this one has both already."""
    code = (
        "import sys, roots.sources.rows;"
        "sys.exit(bool({'torch', 'transformers', 'pyarrow', 'datasets'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "reader",
    [
        Delimited(paths="a.tsv", columns=["x", "y"], delimiter="\t", quoting="csv"),
        JsonRows(paths=["a.jsonl"]),
        Parquet(paths="a.parquet"),
        HuggingFaceRows(path="json", data_files=["a.jsonl"], split="dev", streaming=True),
        Conll(paths="a.conll", word_column=1, tag_column=3, comment="# "),
        Squad(paths="a.json"),
        ParallelText(source="a.en", target="a.de"),
    ],
)
def test_a_reader_is_saved_as_plain_values_and_made_again(reader) -> None:
    spec = plain(reader)
    assert spec["class_path"] == f"roots.sources.rows.{type(reader).__name__}"
    assert plain(rebuild(json.loads(json.dumps(spec)), RowSource)) == spec
