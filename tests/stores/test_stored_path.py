"""StoredPath: a URL that is taken apart, read and refused like a path."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.utils import infer_storage_options
from range_server import RangeServer, serving

from roots.errors import ConfigError, DataError, MissingExtra
from roots.stores import StoredPath, address_of, find, is_url, located, matching
from roots.stores.patience import Patience


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Takes the place of waiting, and notes how long it would have been."""
    waited: list[float] = []
    monkeypatch.setattr("roots.stores.patience.sleep", waited.append)
    return waited


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RangeServer]:
    with serving(tmp_path) as running:
        yield running


def test_it_is_taken_apart_like_a_path() -> None:
    path = located("s3://bucket/some/text.jsonl.gz")
    assert isinstance(path, StoredPath)
    assert str(path) == path.as_posix() == f"{path}" == "s3://bucket/some/text.jsonl.gz"
    assert (path.name, path.suffix, path.suffixes) == ("text.jsonl.gz", ".gz", [".jsonl", ".gz"])
    assert str(path.parent / "more" / "x.idx") == "s3://bucket/some/more/x.idx"
    assert str(path.with_name("y.bin")) == "s3://bucket/some/y.bin"
    assert path == located("s3://bucket/some/text.jsonl.gz")
    assert path != Path("s3:/bucket/some/text.jsonl.gz")
    assert len({path, located(str(path)), path.parent}) == 2
    assert pickle.loads(pickle.dumps(path)) == path
    assert path.absolute() is path
    assert located(path) is path


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("https://ann:pw@host/a.csv", "https://<secret>@host/a.csv"),
        ("https://host/a.csv?part=1&sig=ab12", "https://host/a.csv?part=1&sig=<secret>"),
    ],
)
def test_its_secrets_are_in_no_text_of_it(name: str, told: str) -> None:
    path = located(name)
    assert isinstance(path, StoredPath)
    assert str(path) == f"{path}" == path.as_posix() == told
    assert repr(path) == f"StoredPath('{told}')"
    patient = path.patient(Patience(tries=2))
    for same in (path, pickle.loads(pickle.dumps(path)), patient, located(address_of(patient))):
        assert same.url == name
        assert same == path
    assert path != located(told)


@pytest.mark.parametrize("fault", ["401", "503"])
def test_its_secrets_are_in_no_message(server: RangeServer, tmp_path: Path, fault: str) -> None:
    (tmp_path / "a.txt").write_text("text")
    server.forever["a.txt"] = fault
    with pytest.raises(DataError, match=r"a\.txt\?sig=<secret>") as refused:
        located(f"{server.url}/a.txt?sig=ab12").read_text()
    assert "ab12" not in str(refused.value)
    with pytest.raises(DataError, match=r"b\.txt\?sig=<secret> does not exist"):
        located(f"{server.url}/b.txt?sig=ab12").read_text()
    with pytest.raises(ConfigError, match=r"^https://<secret>@host//a names no file"):
        located("https://ann:ab12@host//a")


@pytest.mark.parametrize("asked", ["", "?sig=a%2F1", "?to=a/b.txt&sig=1", "#part"])
def test_what_is_asked_behind_a_web_address_is_no_ending(asked: str) -> None:
    path = located(f"https://host/in/a.CSV.gz{asked}")
    assert (path.name, path.suffix, path.suffixes) == ("a.CSV.gz", ".gz", [".CSV", ".gz"])
    assert path.stem == "a.CSV"
    assert located("s3://bucket/a?b.gz").name == "a?b.gz"  # a key may be called so


def test_what_is_made_of_a_path_is_asked_as_patiently() -> None:
    plain, patience = located("s3://bucket/some/text.txt"), Patience(tries=2, timeout_seconds=3)
    path = plain.patient(patience)  # type: ignore[attr-defined]
    assert path == plain
    assert hash(path) == hash(plain)
    for each in (path.parent, path.parent / "x", path.with_name("y"), path.with_suffix(".idx")):
        assert each.patience == patience
        assert pickle.loads(pickle.dumps(each)).patience == patience
    assert plain.patience == Patience()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["here/text.txt", "/tmp/x", "file:///tmp/x", "C:/x", Path("x")])
def test_what_lies_on_this_machine_stays_a_plain_path(name: str | Path) -> None:
    assert not is_url(name)
    assert type(located(name)) is type(Path())


def test_a_file_url_is_the_file() -> None:
    assert located("file:///tmp/x.txt") == Path("/tmp/x.txt")


def test_a_name_may_begin_with_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert located("~/tiny") == Path("/home/ann/tiny")
    assert located("./~/tiny") == Path("~/tiny")  # a folder that is called so
    assert str(located("s3://bucket/~/tiny")) == "s3://bucket/~/tiny"


@pytest.mark.parametrize("name", ["s3://", "s3://a//b", "simplecache::s3://a/b", "s3://a/./b"])
def test_a_url_that_a_path_would_change_is_refused(name: str) -> None:
    if "::" in name:
        assert not is_url(name)
        return
    with pytest.raises(ConfigError, match=r"scheme://bucket/path, with single slashes"):
        located(name)
    assert is_url(located(name.replace("s3://", "s3://c/").replace("a//", "a/").replace("./", "")))


def test_it_is_read_like_a_file(server: RangeServer, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(bytes(range(256)) * 40_000)  # more than one request
    path = located(f"{server.url}/a.txt")
    assert path.is_file()
    assert path.stat().st_size == 256 * 40_000
    assert path.read_bytes() == (tmp_path / "a.txt").read_bytes()
    with path.open("rb") as file:
        file.seek(-10, os.SEEK_END)
        assert (file.read(), file.tell()) == (bytes(range(246, 256)), 256 * 40_000)
        file.seek(3)
        assert file.read(4) == bytes([3, 4, 5, 6])
        assert file.readline() == bytes([7, 8, 9, 10])
    assert not (path.parent / "b.txt").exists()
    with pytest.raises(FileNotFoundError, match=r"b\.txt"):
        (path.parent / "b.txt").stat()
    with pytest.raises(DataError, match=r"b\.txt does not exist. Correct the URL, or upload"):
        (path.parent / "b.txt").read_bytes()


def test_the_time_of_a_change_is_another_when_the_content_is(
    server: RangeServer, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("one")
    path = located(f"{server.url}/a.txt")
    before = path.stat()
    assert path.stat() == before
    (tmp_path / "a.txt").write_text("two")
    os.utime(tmp_path / "a.txt", ns=(1, 1))
    assert path.stat().st_mtime_ns != before.st_mtime_ns
    assert path.stat().st_size == before.st_size


def test_what_needs_a_file_on_this_machine_is_refused() -> None:
    path = located("s3://bucket/x")
    with pytest.raises(DataError, match=r"s3://bucket/x is in an object store.* local path"):
        os.fspath(path)
    with pytest.raises(DataError, match="is only read"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="Copy"):
        path.mkdir()


@pytest.mark.parametrize("fault", ["hang", "cut", "short", "503", "429"])
def test_a_fault_that_passes_is_asked_again(
    server: RangeServer, tmp_path: Path, fault: str, waits: list[float]
) -> None:
    from roots.stores.asking import fetch

    (tmp_path / "a.bin").write_bytes(bytes(range(200)))
    server.faults["a.bin"] = [fault, fault]
    patience = Patience(timeout_seconds=0.2)
    assert fetch(f"{server.url}/a.bin", 50, 150, patience) == bytes(range(50, 150))
    assert server.asked["a.bin"] == 3
    assert 0.25 <= waits[0] <= 0.5 <= waits[1] <= 1.0


@pytest.mark.parametrize(
    ("fault", "told", "tries"),
    [
        ("hang", "could not be read in 3 tries; the last ended with FSTimeoutError", 3),
        ("short", "50 bytes arrived of 100. Check that the store answers", 3),
        ("503", "503, message='Service Unavailable'.*set tries or timeout_seconds higher", 3),
        ("403", "Forbidden.*give this machine the right to read it", 1),
        ("404", " does not exist. Correct the URL", 1),
        ("whole", "sent 200 bytes where 100 were asked for.*answers range requests", 1),
    ],
)
def test_a_fault_that_stays_is_told_with_its_cure(
    server: RangeServer, tmp_path: Path, fault: str, told: str, tries: int
) -> None:
    from roots.stores.asking import fetch

    (tmp_path / "a.bin").write_bytes(bytes(200))
    server.forever["a.bin"] = fault
    url = f"{server.url}/a.bin"
    with pytest.raises(DataError, match=f"^{url}.*{told}"):
        fetch(url, 50, 150, Patience(tries=3, timeout_seconds=0.2))
    assert server.asked["a.bin"] == tries
    server.forever.clear()
    assert fetch(url, 50, 150, Patience(tries=1)) == bytes(100)


def test_the_waits_double_and_end_at_thirty_seconds() -> None:
    patience = Patience(first_wait_seconds=1.0)
    longest = [1, 2, 4, 8, 16, 30, 30]
    for number, most in enumerate(longest, 1):
        assert most / 2 <= patience.waits("s3://a/b", number) <= most
    with pytest.raises(ConfigError, match=r"tries=0.*Set tries to 1 or more"):
        Patience(tries=0)


def test_a_server_that_is_not_there_is_asked_again_and_told(waits: list[float]) -> None:
    with pytest.raises(DataError, match=r"its size could not be read in 6 tries.*Cannot connect"):
        located("http://127.0.0.1:1/x").is_file()
    assert len(waits) == 5


@pytest.mark.parametrize(
    ("url", "package", "extra"), [("s3://a/b", "s3fs", "s3"), ("gs://a/b", "gcsfs", "gcs")]
)
def test_a_missing_package_is_named(
    url: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(sys.modules["fsspec.registry"], "_registry", {})
    with pytest.raises(MissingExtra, match=rf"{url} needs.*pip install 'roots-lm\[{extra}\]'"):
        located(url).is_file()


def test_an_unknown_kind_of_store_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"nope://a/b: Protocol not known.*Write s3://"):
        located("nope://a/b").is_file()


def test_files_are_listed_by_folder_and_by_glob() -> None:
    memory = fsspec.filesystem("memory")
    for name in ("b.jsonl", "in/a.jsonl", "in/.hidden/c.jsonl", "in/d.txt"):
        memory.pipe_file(f"/listed/{name}", b"x")
    assert find("memory://listed", [".jsonl"], Patience()) == [
        "memory://listed/b.jsonl",
        "memory://listed/in/a.jsonl",
    ]
    assert matching("memory://listed/*/*.t?t", Patience()) == ["memory://listed/in/d.txt"]
    assert matching("memory://listed/no*", Patience()) == []
    assert located("memory://listed/in").is_dir()
    assert not located("memory://listed/on").exists()
    assert located("memory://listed/in/d.txt").read_text() == "x"


class Hosted(MemoryFileSystem):  # type: ignore[misc,unused-ignore]
    """Names its files without the host, as the stores of fsspec for ftp, sftp and smb do."""

    protocol = "hosted"
    store: ClassVar[dict[str, object]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(infer_storage_options(path)["path"]).rstrip("/")


def test_what_is_listed_keeps_its_host() -> None:
    fsspec.register_implementation("hosted", Hosted, clobber=True)
    for name in ("b.jsonl", "in/a.jsonl", "in/.hidden/c.jsonl"):
        Hosted().pipe_file(f"/listed/{name}", b"x")
    host = "hosted://ann@example.org:2121"
    assert find(f"{host}/listed/", [".jsonl"], Patience()) == [
        f"{host}/listed/b.jsonl",
        f"{host}/listed/in/a.jsonl",
    ]
    assert matching(f"{host}/*/*.jsonl", Patience()) == [f"{host}/listed/b.jsonl"]
    assert matching(f"{host}/listed/i*/*.jsonl", Patience()) == [f"{host}/listed/in/a.jsonl"]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host/a.csv.gz?sig=a/b", "a.csv.gz"),
        ("https://host/download?path=x&files=train.csv", "download?path=x&files=train.csv"),
        ("s3://bucket/a?b.csv", "a?b.csv"),
    ],
)
def test_a_name_ends_as_its_file_does(url: str, name: str) -> None:
    assert located(url).name == name
