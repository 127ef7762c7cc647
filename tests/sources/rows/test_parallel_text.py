"""ParallelText: pairs of lines, and files that have come apart."""

from __future__ import annotations

import gzip

import pytest

from roots.errors import ConfigError, DataError
from roots.records import BadRow
from roots.sources.rows import ParallelText


def put(folder, **files: str | bytes) -> ParallelText:
    for ending, content in files.items():
        raw = content.encode() if isinstance(content, str) else content
        (folder / f"a.{ending}").write_bytes(raw)
    return ParallelText(source=f"{folder}/a.en", target=f"{folder}/a.de")


def test_lines_are_paired_and_only_newlines_end_them(tmp_path) -> None:
    source = put(
        tmp_path, en="\ufeffone\r\ntwo\u2028still\n\nthree", de="eins\nzwei\x85noch\n\ndrei\n"
    )
    rows = list(source.rows())
    assert [tuple(r.fields.values()) for r in rows] == [
        ("one", "eins"),
        ("two\u2028still", "zwei\x85noch"),
        ("", ""),
        ("three", "drei"),
    ]
    assert list(rows[0].fields) == ["source", "target"]
    assert rows[3].where == f"{tmp_path}/a.en:4"


@pytest.mark.parametrize(("en", "n_lines"), [("1\n2\n3\n", 3), ("1\n2\n3", 3), ("1\n", 1)])
def test_unequal_line_counts_are_refused_before_anything_is_read(tmp_path, en, n_lines) -> None:
    source = put(tmp_path, en=en, de="1\n2\n")
    with pytest.raises(DataError, match=rf"a\.en has {n_lines} lines and \S*a\.de 2, so"):
        next(source.read())
    put(tmp_path, de="x\n" * n_lines)
    assert len(list(source.rows())) == n_lines


def test_a_bad_byte_costs_its_pair_in_either_file(tmp_path) -> None:
    source = put(tmp_path, en=b"a\n\xff\nc\nd\n", de=b"a\nb\n\xffc\nd\n")
    found = list(source.read())
    assert [isinstance(row, BadRow) for row in found] == [False, True, True, False]
    assert "a.en:2: byte 2 of the file" in found[1].message
    assert "a.de:3: byte 4 of the file" in found[2].message


def test_one_side_may_be_packed_and_a_cut_one_is_told(tmp_path) -> None:
    put(tmp_path, en="one\ntwo\n")
    packed = tmp_path / "a.de.gz"
    packed.write_bytes(gzip.compress(b"eins\nzwei\n"))
    source = ParallelText(source=f"{tmp_path}/a.en", target=str(packed))
    assert [row.fields["target"] for row in source.rows()] == ["eins", "zwei"]
    packed.write_bytes(packed.read_bytes()[:-6])
    with pytest.raises(DataError, match=r"a\.de\.gz: the gzip data break"):
        list(source.rows())


def test_two_files_are_asked_for(tmp_path) -> None:
    put(tmp_path, en="x\n", de="y\n")
    with pytest.raises(ConfigError, match="source and target are the same file"):
        ParallelText(source="a", target="a")
    with pytest.raises(ConfigError, match=r"source: .*/a\.\* names 2 files.*join them first"):
        ParallelText(source=f"{tmp_path}/a.*", target=f"{tmp_path}/a.de").files()
