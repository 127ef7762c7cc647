"""WebPages: archives that warcio writes, pages as they lie on a disk, and damage of either."""

from __future__ import annotations

import gzip
import json
import random
import string
from pathlib import Path

import pytest

from roots.corpus import Characters, Corpus
from roots.errors import ConfigError, DataError, MissingExtra
from roots.records import Reject
from roots.sources import WebPages

MENU = "<nav><a href=/>Home</a> <a href=/in>Log in</a></nav>"
FOOT = "<footer>All rights reserved. We use cookies.</footer>"


REST = (
    "Behind the tip lies a zone of cells that stretch, and push the tip through the soil; further"
    " back, fine hairs take up water and minerals, and give sugar to the fungi that live there.",
    "Most plants share it with them: what the fungi find far away they bring to the root, and what"
    " the leaves made in the light of the day goes down to the fungi by night.",
)
TAIL = "\n".join(REST)


def page(text: str, more: str = "") -> str:
    rest = "".join(f"<p>{each}</p>" for each in REST)
    body = f"{MENU}<main><h1>Roots</h1><p>{text}</p>{rest}{more}</main>{FOOT}"
    return f"<html><head><title>Roots</title></head><body>{body}</body></html>"


FIRST = "Roots grow downward, because they sense gravity with small grains of starch in their tips."
SECOND = "Les racines plongées dans l'eau cherchent l'été entier le sel dont la plante a besoin."


def warc_record(kind: str, address: str, block: bytes) -> bytes:
    """A record as ISO 28500 draws it."""
    head = [
        "WARC/1.0",
        f"WARC-Type: {kind}",
        f"WARC-Target-URI: {address}",
        "WARC-Date: 2026-01-02T03:04:05Z",
        "WARC-Record-ID: <urn:uuid:12345678-1234-1234-1234-123456789abc>",
        f"Content-Type: application/http; msgtype={kind}",
        f"Content-Length: {len(block)}",
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + block + b"\r\n\r\n"


def warc(path: Path, *answers: tuple[str, str, str, bytes], members: bool = False) -> Path:
    """Writes answers: (address, status, content type, body); a request goes before each."""
    records = []
    for address, status, kind, body in answers:
        asked = b"GET / HTTP/1.1\r\nHost: roots.example\r\n\r\n"
        said = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n\r\n".encode() + body
        records += [warc_record("request", address, asked), warc_record("response", address, said)]
    parts = records if members else [b"".join(records)]
    packed = path.suffix.lower() == ".gz"
    path.write_bytes(b"".join(gzip.compress(part) if packed else part for part in parts))
    return path


def archive(path: Path) -> Path:
    return warc(
        path,
        ("http://roots.example/a", "200 OK", "text/html", page(FIRST).encode()),
        ("http://roots.example/b", "404 Not Found", "text/html", page("Nothing here.").encode()),
        ("http://roots.example/c.png", "200 OK", "image/png", b"\x89PNG\0\0"),
        (
            "http://roots.example/d",
            "200 OK",
            'text/html; charset="iso-8859-1"',
            page(SECOND).encode("latin-1"),
        ),
    )


@pytest.mark.parametrize("name", ["crawl.warc", "crawl.warc.gz", "CRAWL.WARC.GZ"])
def test_pages_come_out_as_their_main_text_with_their_address(tmp_path: Path, name: str) -> None:
    archive(tmp_path / name)
    one, two = WebPages(paths=str(tmp_path)).documents()
    assert one.text == f"Roots\n{FIRST}\n{TAIL}"
    assert two.text == f"Roots\n{SECOND}\n{TAIL}"
    assert one.id.endswith(f"{name}:2 http://roots.example/a")
    assert one.metadata["url"] == "http://roots.example/a"
    assert one.metadata["date"] == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize("charset", ["undefined", "idna", "utf-8\0", "klingon", "rot13", ""])
def test_a_page_whose_server_names_a_charset_that_decodes_nothing_is_read_all_the_same(
    tmp_path: Path, charset: str
) -> None:
    kind = f"text/html; charset={charset}"
    path = warc(
        tmp_path / "a.warc",
        ("http://roots.example/a", "200 OK", kind, page(SECOND).encode()),
        ("http://roots.example/b", "200 OK", "text/html", page(FIRST).encode()),
    )
    texts = [document.text for document in WebPages(paths=str(path)).documents()]
    assert texts == [f"Roots\n{SECOND}\n{TAIL}", f"Roots\n{FIRST}\n{TAIL}"]


@pytest.mark.parametrize("charset", ["ISO-8859-1", "latin1", "us-ascii", "windows-1252"])
def test_latin_1_and_ascii_mean_windows_1252_as_in_browsers(tmp_path: Path, charset: str) -> None:
    said = "Roots “sense” gravity – it’s in their tips – for a price of € 5 in every spring."
    raw = page(said).encode("cp1252").replace(b"every", b"ev\x81ery")  # which stands for nothing
    kind = f"text/html; charset={charset}"
    path = warc(tmp_path / "a.warc", ("http://roots.example/a", "200 OK", kind, raw))
    (document,) = WebPages(paths=str(path)).documents()
    assert document.text.splitlines()[1].replace("\x81", "") == said
    path = warc(
        tmp_path / "b.warc", ("http://roots.example/a", "200 OK", kind, page(said).encode())
    )
    (document,) = WebPages(paths=str(path)).documents()
    assert document.text.splitlines()[1] == said, "it is UTF-8, whatever its server says"


def packed(*bodies: tuple[str, bytes]) -> list[tuple[str, str, str, bytes]]:
    """Answers whose servers say how their bodies are packed."""
    return [
        (f"http://roots.example/{n}", "200 OK", f"text/html\r\nContent-Encoding: {said}", body)
        for n, (said, body) in enumerate(bodies)
    ]


def test_a_body_is_unpacked_as_its_server_says(tmp_path: Path) -> None:
    brotli = pytest.importorskip("brotli", reason="needs brotli")
    raw = page(FIRST).encode()
    bodies = ("br", brotli.compress(raw)), ("gzip", gzip.compress(raw)), ("br", raw), ("gzip", raw)
    path = warc(tmp_path / "a.warc", *packed(*bodies))
    documents = list(WebPages(paths=str(path)).documents())
    assert [each.text for each in documents] == [f"Roots\n{FIRST}\n{TAIL}"] * 4


def test_a_body_that_does_not_unpack_costs_its_own_page(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard", reason="needs zstandard")
    raw = page(FIRST).encode()
    torn = bytearray(gzip.compress(random.Random(1).randbytes(2**17)))
    torn[2**16 : 2**16 + 64] = bytes(64)
    bodies = ("zstd", zstandard.compress(raw)), ("gzip", bytes(torn)), ("zstd", raw)
    path = warc(tmp_path / "a.warc", *packed(*bodies))
    with pytest.raises(DataError, match=r"a\.warc:2 http.*/0 cannot be read: .* as 'zstd'"):
        list(WebPages(paths=str(path)).documents())
    source = WebPages(paths=str(path), on_bad_record="skip", max_bad_fraction=0.7)
    one, two, three = source.records()
    assert isinstance(one, Reject)
    assert isinstance(two, Reject)
    assert (one.reason, two.reason) == ("broken_body", "broken_body")
    assert "Error -3 while decompressing data" in two.cause
    assert not isinstance(three, Reject)


def test_an_archive_cut_within_a_large_page_is_told_of(tmp_path: Path) -> None:
    much = random.Random(1).randbytes(2**19).hex()
    path = warc(tmp_path / "a.warc.gz", *packed(("", page(much).encode())), members=True)
    path.write_bytes(path.read_bytes()[: 2**18])
    with pytest.raises(DataError, match=r"the gzip data break after record 1 .*fetch it again"):
        list(WebPages(paths=str(path)).documents())


def test_archives_of_one_gzip_member_for_each_record_are_read_as_well(tmp_path: Path) -> None:
    pages = [
        (f"http://roots.example/{n}", "200 OK", "text/html", page(f"{FIRST} {n}").encode())
        for n in range(3)
    ]
    warc(tmp_path / "a.warc.gz", *pages, members=True)
    texts = [document.text for document in WebPages(paths=str(tmp_path)).documents()]
    assert texts == [f"Roots\n{FIRST} {n}\n{TAIL}" for n in range(3)]


def test_pages_of_a_folder_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(page(FIRST))
    (tmp_path / "b.htm").write_bytes(page(SECOND).encode("utf-16"))
    documents = list(WebPages(paths=str(tmp_path)).documents())
    assert [d.text for d in documents] == [f"Roots\n{FIRST}\n{TAIL}", f"Roots\n{SECOND}\n{TAIL}"]
    assert documents[0].id == str(tmp_path / "a.html")


def test_tables_are_kept_or_left_out(tmp_path: Path) -> None:
    table = "<table><tr><td>depth</td><td>forty metres below the ground</td></tr></table>"
    (tmp_path / "a.html").write_text(page(FIRST, table))
    (kept,) = WebPages(paths=str(tmp_path)).documents()
    (left,) = WebPages(paths=str(tmp_path), tables=False).documents()
    assert "forty metres" in kept.text
    assert "forty metres" not in left.text


@pytest.mark.parametrize("name", ["crawl.warc", "crawl.warc.gz"])
def test_no_cut_of_an_archive_changes_a_text_or_goes_unnoticed(tmp_path: Path, name: str) -> None:
    whole = archive(tmp_path / name)
    texts = [document.text for document in WebPages(paths=str(whole)).documents()]
    raw = whole.read_bytes()
    boundaries = 0
    for size in range(1, len(raw), 7):
        whole.write_bytes(raw[:size])
        found, said = [], ""
        try:
            for document in WebPages(paths=str(whole)).documents():
                found.append(document.text)
        except DataError as error:
            said = str(error)
        boundaries += not said
        assert not said or "breaks at record" in said or "data break after record" in said
        assert found == texts[: len(found)]
    # between two records, or in the empty lines behind one, nothing tells that more was to come
    assert boundaries <= (0 if name.endswith(".gz") else 12)


def test_a_record_longer_than_its_header_says_is_told_with_its_number(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.warc")
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"<h1>Roots", b"<h1>Roots and more", 1))
    with pytest.raises(DataError, match=r"a\.warc: the archive breaks at record 2: a record is"):
        list(WebPages(paths=str(path)).documents())
    path.write_bytes(raw)
    assert len(list(WebPages(paths=str(path)).documents())) == 2


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.warc"
    path.write_text("not an archive\n")
    with pytest.raises(DataError, match=r"a\.warc: the archive breaks at record 0"):
        list(WebPages(paths=str(path)).documents())


def test_a_binary_page_is_an_error_or_is_counted(tmp_path: Path) -> None:
    path = warc(
        tmp_path / "a.warc",
        ("http://roots.example/a", "200 OK", "text/html", b"\0\0\0"),
        ("http://roots.example/b", "200 OK", "text/html", page(FIRST).encode()),
    )
    with pytest.raises(DataError, match=r"a\.warc:2 http://roots\.example/a holds NUL bytes"):
        list(WebPages(paths=str(path)).documents())
    source = WebPages(paths=str(path), on_bad_record="skip", max_bad_fraction=0.5)
    rejected, kept = source.records()
    assert isinstance(rejected, Reject)
    assert rejected.reason == "binary"
    assert not isinstance(kept, Reject)


def test_a_page_without_text_is_counted_by_the_corpus(tmp_path: Path) -> None:
    bare = b"<html><body></body></html>"
    pages = [
        (f"http://roots.example/{n}", "200 OK", "text/html", page(f"{FIRST} {n}").encode())
        for n in range(4)
    ]
    path = warc(tmp_path / "a.warc", *pages, ("http://x.example/", "200 OK", "text/html", bare))
    corpus = Corpus(
        source=WebPages(paths=str(path)),
        out=str(tmp_path / "out"),
        tokenizer=Characters(extra_characters=string.digits),
        val_fraction=0.25,
        workers=1,
    )
    corpus.prepare(progress=False)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["documents_read"] == 5
    assert manifest["documents_dropped"] == {"empty": 1}


def test_settings_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match="favor='all' is none of balanced, precision, recall"):
        WebPages(paths="a", favor="all")  # type: ignore[arg-type]


def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path / "a.warc")
    monkeypatch.setattr("roots.sources.web_pages.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"trafilatura and warcio, .*'roots-lm\[web\]'"):
        list(WebPages(paths=str(path)).documents())
