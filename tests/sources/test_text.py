"""Text: what is in the files comes out, and what is not text is named with its cure."""

from __future__ import annotations

import codecs
import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.errors import ConfigError, DataError
from roots.sources import Text, decoding
from roots.sources.decoding import Decoder


def put(folder: Path, **files: str | bytes) -> Path:
    for name, content in files.items():
        path = folder / f"{name}.txt"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def texts(source: Text) -> list[str]:
    return [document.text for document in source.documents()]


def test_a_file_is_one_document_as_it_is(tmp_path) -> None:
    put(tmp_path, b="zwei\r\n\r\n", a="\ufeffone\n")
    source = Text(paths=[str(tmp_path)])
    assert texts(source) == ["one\n", "zwei\r\n\r\n"]
    assert [d.id for d in source.documents()] == [f"{tmp_path}/a.txt", f"{tmp_path}/b.txt"]
    assert source.files() == [tmp_path / "a.txt", tmp_path / "b.txt"]


def test_a_line_is_a_document_without_its_end(tmp_path) -> None:
    put(tmp_path, a="\ufeffone\r\n\ntwo")
    source = Text(paths=str(tmp_path), document="line")
    assert texts(source) == ["one", "", "two"]
    assert [d.id.rpartition(":")[2] for d in source.documents()] == ["1", "2", "3"]


def test_blank_lines_stand_between_documents(tmp_path) -> None:
    put(tmp_path, a="\n\none\nmore\n  \n\n\ntwo\n", b="three")
    source = Text(paths=str(tmp_path), document="blank_line")
    assert texts(source) == ["one\nmore", "two", "three"]
    assert [Path(d.id).name for d in source.documents()] == ["a.txt:3", "a.txt:8", "b.txt:1"]


@settings(max_examples=50, deadline=None)
@given(lines=st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]))))
def test_no_line_is_lost(tmp_path_factory, lines) -> None:
    content = "".join(f"{line}\n" for line in lines) or "\n"
    folder = put(tmp_path_factory.mktemp("t"), a=content)
    found = texts(Text(paths=str(folder), document="line"))
    assert found == [
        line.removeprefix("\ufeff") if i == 0 else line for i, line in enumerate(lines or [""])
    ]


def test_files_globs_and_folders_name_each_file_once_and_sorted(tmp_path) -> None:
    (tmp_path / "deep" / ".git").mkdir(parents=True)
    put(tmp_path, b="b", a="a")
    put(tmp_path / "deep", c="c")
    put(tmp_path / "deep" / ".git", hidden="no")
    (tmp_path / "deep" / "x[1].md").write_text("md")
    paths = [str(tmp_path), f"{tmp_path}/*.txt", f"{tmp_path}/**/*.md", f"{tmp_path}/deep/x[1].md"]
    names = [path.name for path in Text(paths=paths).files()]
    assert names == ["a.txt", "b.txt", "c.txt", "x[1].md"]


def test_one_bad_byte_loses_nothing_and_is_counted(tmp_path) -> None:
    put(tmp_path, a=b"caf\xe9 and much more text\nnext \xef\xbf\xbd line\n", b=b"\xff!" + b"x" * 99)
    for unit in ("file", "line", "blank_line"):
        source = Text(paths=str(tmp_path), document=unit)
        found = "\n".join(texts(source))
        assert "caf\ufffd and much more text\nnext \ufffd line" in found
        assert source.n_replaced == 2, unit
        texts(source)
        assert source.n_replaced == 2, "counted anew"


def test_strict_names_the_byte_and_the_cure_works(tmp_path) -> None:
    put(tmp_path, a=b"first\ncaf\xe9\n")
    for unit in ("file", "line"):
        with pytest.raises(DataError, match=r"a\.txt: byte 9 \(0xe9\) is not utf-8.*encoding to"):
            texts(Text(paths=str(tmp_path), strict=True, document=unit))
    cured = Text(paths=str(tmp_path), strict=True, encoding="latin-1", document="line")
    assert texts(cured) == ["first", "café"]
    assert "\ufffd" in texts(Text(paths=str(tmp_path)))[0]


def test_another_encoding_is_refused_with_the_share_and_the_cure_works(tmp_path) -> None:
    put(tmp_path, a="这是一个中文文本，没有任何其他内容。".encode("gb18030"))
    with pytest.raises(DataError, match=r"of the first .* characters are not utf-8.*gb18030"):
        texts(Text(paths=str(tmp_path), document="line"))
    assert texts(Text(paths=str(tmp_path), encoding="gb18030"))[0].startswith("这是")


def test_a_binary_file_is_refused_with_the_place_of_its_nul(tmp_path) -> None:
    put(tmp_path, a=b"ELF stuff\x00\x01")
    with pytest.raises(DataError, match=r"byte 9 is NUL.*binary"):
        texts(Text(paths=str(tmp_path)))
    put(tmp_path, a=(b"x" * 999 + b"\n") * 1_500 + b"\x00")
    with pytest.raises(DataError, match=r"byte 1,500,000 is NUL"):
        texts(Text(paths=str(tmp_path), document="line"))


def test_utf_16_is_called_by_its_name(tmp_path) -> None:
    put(tmp_path, a="hello".encode("utf-16"))
    with pytest.raises(DataError, match=r"is UTF-16.*iconv -f UTF-16 -t UTF-8"):
        texts(Text(paths=str(tmp_path)))
    put(tmp_path, a="hello".encode("utf-16").decode("utf-16"))
    assert texts(Text(paths=str(tmp_path))) == ["hello"]


def test_a_missing_file_is_told_in_full(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"no\.txt does not exist \(looked for {tmp_path}/no\.txt"):
        Text(paths=["no.txt"]).files()
    put(tmp_path, no="yes")
    assert texts(Text(paths=["no.txt"])) == ["yes"]


def test_a_variable_in_a_path_is_expanded_and_one_that_is_not_set_is_named(
    tmp_path, monkeypatch
) -> None:
    put(tmp_path, a="here")
    source = Text(paths="${MY_TEXTS}/a.txt")
    monkeypatch.delenv("MY_TEXTS", raising=False)
    with pytest.raises(
        ConfigError, match=r"\$\{MY_TEXTS\}/a.txt needs the variable MY_TEXTS, which"
    ):
        source.files()
    monkeypatch.setenv("MY_TEXTS", str(tmp_path))
    assert texts(source) == ["here"]


def test_an_empty_file_that_was_named_is_refused_and_one_that_was_found_is_not(tmp_path) -> None:
    put(tmp_path, a="", b="text")
    with pytest.raises(DataError, match=r"a\.txt is empty \(0 bytes\)"):
        Text(paths=[f"{tmp_path}/a.txt"]).files()
    assert texts(Text(paths=str(tmp_path))) == ["", "text"]


def test_a_folder_without_text_files_is_refused_and_the_cure_works(tmp_path) -> None:
    (tmp_path / "a.md").write_text("x")
    with pytest.raises(DataError, match=rf"no file that ends in \.txt.*'{tmp_path}/\*\*/\*\.md'"):
        Text(paths=str(tmp_path)).files()
    assert texts(Text(paths=f"{tmp_path}/**/*.md")) == ["x"]


def test_a_glob_without_a_match_is_refused(tmp_path) -> None:
    with pytest.raises(DataError, match=r"\*\.text' matches no file"):
        Text(paths=f"{tmp_path}/*.text").files()


def test_a_file_under_several_names_is_read_once(tmp_path, monkeypatch) -> None:
    put(tmp_path, a="once")
    (tmp_path / "sub").mkdir()
    put(tmp_path / "sub", b="twice")
    monkeypatch.chdir(tmp_path)
    names = ["a.txt", str(tmp_path / "a.txt"), "sub/../a.txt", "./a.txt", "sub/..", str(tmp_path)]
    assert Text(paths=names).files() == [Path("a.txt"), Path("sub/../sub/b.txt")]
    assert texts(Text(paths=names)) == ["once", "twice"]


@pytest.mark.skipif(os.name == "nt", reason="links need a right on Windows")
def test_what_only_looks_like_the_same_file_is_read_too(tmp_path, monkeypatch) -> None:
    (tmp_path / "far" / "away").mkdir(parents=True)
    put(tmp_path, a="here")
    put(tmp_path / "far", a="there")
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")
    monkeypatch.chdir(tmp_path)
    assert texts(Text(paths=["a.txt", "link/../a.txt"])) == ["here", "there"]


def test_no_paths_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"paths is empty"):
        Text(paths=[]).files()


@pytest.mark.parametrize("unit", ["file", "line", "blank_line"])
def test_a_document_that_cannot_be_held_is_refused_with_its_size(
    tmp_path, monkeypatch, unit
) -> None:
    for module in ("roots.sources.decoding", "roots.sources.text"):
        monkeypatch.setattr(f"{module}.MAX_DOCUMENT_BYTES", 100)
    assert decoding.MAX_DOCUMENT_BYTES == 100
    content = "x" * 60 + "\n" + "y" * 60 if unit == "blank_line" else "x" * 121
    put(tmp_path, a=content)
    with pytest.raises(
        DataError, match=r"one document of 1\d\d bytes or more is over the limit of 100"
    ):
        texts(Text(paths=str(tmp_path), document=unit))
    put(tmp_path, a="x" * 60 + "\n\n" + "y" * 60)
    assert len(texts(Text(paths=str(tmp_path), document="blank_line"))) == 2


def test_settings_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"document='word' is none of file, line, blank_line"):
        Text(paths="x", document="word")
    for name in ("klingon", "undefined", "idna", "rot13", "utf-8\0", ""):
        with pytest.raises(ConfigError, match=f"encoding={re.escape(repr(name))} is none in which"):
            Text(paths="x", encoding=name)
    with pytest.raises(ConfigError, match=r"encoding='utf-32' writes a newline as 8 bytes.*iconv"):
        Text(paths="x", encoding="utf-32")


@pytest.mark.skipif(os.name == "nt", reason="links need a right on Windows")
def test_a_link_to_its_own_folder_is_not_followed(tmp_path) -> None:
    put(tmp_path, a="once")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert texts(Text(paths=str(tmp_path))) == ["once"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "UTF_8_SIG"])
def test_the_encoding_that_only_tells_of_a_mark_is_utf_8(tmp_path, encoding) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfthe caf\xc3\xa9")
    found = list(Text(paths=str(tmp_path), encoding=encoding).documents())
    assert [each.text for each in found] == ["the café"]


def test_bytes_are_counted_from_the_mark_at_the_beginning(tmp_path) -> None:
    raw = codecs.BOM_UTF8 + b"ab\0"
    (tmp_path / "a.txt").write_bytes(raw)
    with pytest.raises(DataError, match=rf"byte {raw.index(0)} is NUL"):
        list(Text(paths=str(tmp_path)).documents())
    raw = codecs.BOM_UTF8 + b"caf\xe9 ole"
    with pytest.raises(DataError, match=rf"byte {raw.index(0xE9)} \(0xe9\) is not utf-8"):
        Decoder(strict=True).decode(raw, tmp_path)
