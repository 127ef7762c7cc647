"""WebPages: the main text of web pages, in WARC archives or HTML files; needs the extra `web`."""

from __future__ import annotations

import codecs
import logging
import re
from collections.abc import Iterator
from contextlib import redirect_stderr, suppress
from functools import cache
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from roots.errors import ConfigError, DataError, MissingExtra
from roots.records import Document, Reject
from roots.sources.decoding import MAX_DOCUMENT_BYTES, REPLACEMENT, too_large
from roots.sources.finding import find_files
from roots.sources.opening import open_bytes, unpacking, whole
from roots.sources.record_source import OnBadRecord, RecordSource

Favor = Literal["balanced", "precision", "recall"]
ARCHIVES = (".warc", ".warc.gz", ".warc.zst")
PAGES = (".html", ".htm", ".html.gz", ".htm.gz")
END = b"\r\n\r\n"
HTML = ("text/html", "application/xhtml+xml")
BOMS = (b"\xff\xfe", b"\xfe\xff")
_CONTROLS = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")  # \x1b is of ISO-2022
_OF_WINDOWS = {n: c for n in range(0x80, 0xA0) if (c := bytes([n]).decode("cp1252", "ignore"))}
"""What windows-1252 has where latin-1 has controls; bytes that it leaves undefined stay those."""


class WebPages(RecordSource):
    """Reads web pages: their main text, without menus, advertisements and footers.

    Of an archive the answers are read that hold HTML and say 200; requests, images, errors and
    redirections are no documents. A page without a text becomes an empty document, which a corpus
    counts and leaves out. The address and the date of a page are its metadata. The text is found by
    trafilatura, and another version of it may find another text.

    Args:
        paths: Files, globs, or folders (searched for `.warc`, `.warc.gz`, `.warc.zst`, `.html`,
            `.htm`); `~` and `${VARIABLE}` are expanded.
        favor: `precision` keeps less of what may be no main text, `recall` more.
        tables: Keep what stands in tables.
        comments: Keep what readers wrote below the text.
        on_bad_record: `error` ends the pass and names page and cause; `skip` counts the page,
            writes it to `rejects.jsonl` beside the shards, and goes on.
        max_bad_fraction: With `skip`: the greatest fraction of bad pages, above 0 and to 1.

    Raises:
        ConfigError: `favor` is none that exists; `skip` without a fraction, or the reverse.

    Source:
        Barbaresi, "Trafilatura", ACL 2021 demonstrations. WARC: ISO 28500:2017.
    """

    def __init__(
        self,
        *,
        paths: str | list[str],
        favor: Favor = "balanced",
        tables: bool = True,
        comments: bool = False,
        on_bad_record: OnBadRecord = "error",
        max_bad_fraction: float = 0.0,
    ) -> None:
        super().__init__(on_bad_record=on_bad_record, max_bad_fraction=max_bad_fraction)
        if favor not in get_args(Favor):
            raise ConfigError(f"favor='{favor}' is none of {', '.join(get_args(Favor))}. Take one.")
        self.paths = paths
        self.favor: Favor = favor
        self.tables = tables
        self.comments = comments

    def files(self) -> list[Path]:
        """Lists the archives and pages that `paths` names."""
        return find_files(self.paths, [*ARCHIVES, *PAGES])

    def read(self) -> Iterator[Document | Reject]:
        """Streams the pages of one file after another.

        Raises:
            DataError: An archive is cut short or damaged.
            MissingExtra: trafilatura or warcio is not installed.
        """
        _check_installed()
        self.n_replaced = 0
        for path in self.files():
            if path.name.lower().endswith(ARCHIVES):
                yield from self._archive(path)
            else:
                raw = whole(path, "Leave it out.")
                yield self._page(raw, "", str(path), {})

    def _archive(self, path: Path) -> Iterator[Document | Reject]:
        for number, record in _records(path):
            if not _is_page(record):
                continue
            raw, broken = _body(path, number, record)
            headers = record.rec_headers
            address = str(headers.get_header("WARC-Target-URI") or "").strip("<>")
            about = {"url": address, "date": headers.get_header("WARC-Date") or ""}
            where = f"{path}:{number} {address}".rstrip()
            if len(raw) > MAX_DOCUMENT_BYTES:
                cause = str(too_large(path, len(raw), f"It is record {number:,}."))
                yield Reject(where, "too_large", cause, raw[:1024])
            elif broken:
                cause = f"The body of {where} cannot be read: {broken}. Leave it out."
                yield Reject(where, "broken_body", cause, raw[:1024])
            else:
                kind = record.http_headers.get_header("Content-Type") or ""
                yield self._page(raw, _charset(kind), where, about)

    def _page(
        self, raw: bytes, charset: str, where: str, about: dict[str, object]
    ) -> Document | Reject:
        """Finds the text of a page; `charset` is what its server said of its bytes, if anything."""
        if b"\0" in raw[:1024] and not raw.startswith(BOMS):
            cause = f"{where} holds NUL bytes, so it is no HTML. Leave it out, or fetch it again."
            return Reject(where, "binary", cause, raw[:1024])
        text = self._main_text(_decoded(raw, charset), about.get("url"))
        self.n_replaced += text.count(REPLACEMENT)
        return Document(text=text, id=where, metadata=about)

    def _main_text(self, page: str | bytes, address: Any) -> str:
        found = _extractor()(
            page,
            url=address or None,
            favor_precision=self.favor == "precision",
            favor_recall=self.favor == "recall",
            include_comments=self.comments,
            include_tables=self.tables,
        )
        return found or ""


def _records(path: Path) -> Iterator[tuple[int, Any]]:
    """Streams the records of an archive with their numbers from 1.

    warcio ends without a word where a file is cut short, and tells of wrong lengths on stderr.

    Raises:
        DataError: The archive is cut short or damaged.
    """
    from warcio.archiveiterator import ArchiveIterator
    from warcio.bufferedreaders import BufferedReader
    from warcio.exceptions import ArchiveLoadFailed
    from warcio.statusandheaders import StatusAndHeadersParserException

    # the latter three come of headers that end in their middle
    damage = (
        ArchiveLoadFailed,
        StatusAndHeadersParserException,
        AttributeError,
        TypeError,
        ValueError,
    )
    if find_spec("brotli"):
        BufferedReader.DECOMPRESSORS["br"] = _Brotli
    number = 0
    with open_bytes(path) as file, unpacking(path, lambda: f" after record {number:,}"):
        watched = _Watched(file)
        archive = ArchiveIterator(watched)
        while True:
            try:
                with redirect_stderr(StringIO()):
                    record = next(archive, None)
            except damage as error:
                why = f"its header cannot be read ({str(error).strip().splitlines()[0]})"
                raise _broken(path, number, why) from error
            if archive.err_count:
                raise _broken(path, number, "a record is longer than its header says")
            if record is None:
                break
            number += 1
            yield number, record
            _check_whole(path, number, record)
    if not number:
        raise _broken(path, 0, "there is no record in it")
    if watched.last != END:
        raise _broken(path, number + 1, "the file ends within it")


class _Watched:
    """A file whose last bytes are remembered: behind each record of an archive stand two line ends.

    Args:
        file: Is read from.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.last = b""

    def read(self, n_bytes: int) -> bytes:
        part = self._file.read(n_bytes)
        self.last = (self.last + part)[-len(END) :]
        return part

    def tell(self) -> int:
        return self._file.tell()


def _check_whole(path: Path, number: int, record: Any) -> None:
    """Reads the rest of a record, and raises DataError where some of it is not there."""
    record.raw_stream.read()
    missing = getattr(record.raw_stream, "limit", None)  # where its header tells its length
    if missing != 0:
        what = (
            "its header ends early" if missing is None else f"{missing:,} bytes of it are missing"
        )
        raise _broken(path, number, what)


def _broken(path: Path, number: int, why: str) -> DataError:
    return DataError(
        f"{path}: the archive breaks at record {number:,}: {why}."
        " It is cut short or damaged: fetch it again, and check with `warcio check`."
    )


def _is_page(record: Any) -> bool:
    """Tells whether a record is the answer of a server that holds a page."""
    if record.rec_type != "response" or record.http_headers is None:
        return False
    kind = (record.http_headers.get_header("Content-Type") or "").split(";")[0]
    return record.http_headers.get_statuscode() == "200" and kind.strip().lower() in HTML


def _body(path: Path, number: int, record: Any) -> tuple[bytes, str]:
    """Reads the body of a page, unpacked, and tells why that fails where it does.

    What breaks on the way is told by warcio on stderr. What does not even begin as its server says
    it hands over as it is: some archives unpacked the pages and left what the servers said.

    Raises:
        DataError: The archive is cut short or damaged.
    """
    said = StringIO()
    with unpacking(path, lambda: f" after record {number - 1:,}"), redirect_stderr(said):
        stream = record.content_stream()
        raw = stream.read(MAX_DOCUMENT_BYTES + 1)
        _check_whole(path, number, record)
    if said.getvalue():
        return raw, said.getvalue().strip()
    encoding = record.http_headers.get_header("Content-Encoding")
    as_it_was = getattr(stream, "decompressor", None) is None
    if encoding and as_it_was and _CONTROLS.search(raw[:1024]) and not raw.startswith(BOMS):
        return raw, f"its server says that it is packed as '{encoding}', and it does not unpack"
    return raw, ""


class _Brotli:
    """What warcio asks of a decompressor: its own wrapper needs a brotli before 1.2."""

    unused_data = b""

    def __init__(self) -> None:
        import brotli  # type: ignore[import-untyped,unused-ignore]

        self.decompress = brotli.Decompressor().process


def _charset(kind: str) -> str:
    """Reads the encoding of `text/html; charset=…`."""
    for part in kind.split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'")
    return ""


def _decoded(raw: bytes, charset: str) -> str | bytes:
    """Decodes a page as its server said, where that fits; else it is found out from the bytes.

    ASCII and latin-1 mean windows-1252 there (https://encoding.spec.whatwg.org/#names-and-labels);
    but servers say them of everything, and what is UTF-8 throughout is so by no accident.
    """
    try:
        if charset and codecs.lookup(charset).name in ("ascii", "iso8859-1", "cp1252"):
            with suppress(UnicodeDecodeError):
                return raw.decode("utf-8")
            return raw.decode("latin-1").translate(_OF_WINDOWS)
        return raw.decode(charset) if charset else raw
    except (ValueError, LookupError):  # not only undecodable bytes: `undefined` decodes nothing
        return raw


@cache
def _extractor() -> Any:
    """Gives trafilatura's function; a page without a text is counted, so it need not warn."""
    import trafilatura

    logging.getLogger("trafilatura").setLevel(logging.ERROR)
    return trafilatura.extract


def _check_installed() -> None:
    missing = [name for name in ("trafilatura", "warcio") if find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"Web pages need {' and '.join(missing)}, which {'are' if missing[1:] else 'is'} not"
            " installed. Install the extra: pip install 'roots-lm[web]' (pip install -e '.[web]'"
            " in a clone)."
        )
