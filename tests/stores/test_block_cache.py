"""BlockCache: blocks come from the disk when they are there, whole, and not too many."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import shutil
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from range_server import RangeServer, serving
from ranks import run_ranks

from roots.errors import ConfigError, DataError
from roots.stores import BLOCK_BYTES, BlockCache, Patience, StoredFile
from roots.stores.eviction import make_room

SIZE = 5 * BLOCK_BYTES + 1000
CONTENT = np.random.default_rng(3).bytes(SIZE)
LEAST = 64 * BLOCK_BYTES


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeServer]:
    monkeypatch.setattr("roots.stores.patience.sleep", lambda _: None)
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "a.bin").write_bytes(CONTENT)
    with serving(folder) as running:
        yield running


def cache_in(folder: Path, limit_bytes: int = LEAST) -> BlockCache:
    patience = Patience(tries=3, timeout_seconds=5)
    return BlockCache(folder=folder, limit_bytes=limit_bytes, patience=patience)


def key_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


KEY = key_of("a.bin")


def stored(server: RangeServer, key: str = KEY) -> StoredFile:
    return StoredFile(url=f"{server.url}/a.bin", key=key, size=SIZE)


def blocks(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*/*"))


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, 1),
        (BLOCK_BYTES - 1, BLOCK_BYTES + 1),
        (BLOCK_BYTES, 2 * BLOCK_BYTES),
        (100, 4 * BLOCK_BYTES + 7),
        (SIZE - 3, SIZE),
        (0, SIZE),
    ],
)
def test_any_part_is_that_of_the_file(
    server: RangeServer, tmp_path: Path, start: int, stop: int
) -> None:
    cache = cache_in(tmp_path / "cache")
    for _ in range(2):
        assert bytes(cache.read(stored(server), start, stop)) == CONTENT[start:stop]
    n_blocks = (stop - 1) // BLOCK_BYTES - start // BLOCK_BYTES + 1
    assert server.asked["a.bin"] == n_blocks == len(blocks(tmp_path / "cache"))


def test_another_process_finds_the_blocks(server: RangeServer, tmp_path: Path) -> None:
    cache_in(tmp_path / "cache").read(stored(server), 0, SIZE)
    server.forever["a.bin"] = "503"
    found = cache_in(tmp_path / "cache").read(stored(server), 0, SIZE)
    assert bytes(found) == CONTENT


def test_other_content_has_other_blocks(server: RangeServer, tmp_path: Path) -> None:
    cache = cache_in(tmp_path / "cache")
    cache.read(stored(server), 0, 10)
    (server.folder / "a.bin").write_bytes(bytes(SIZE))
    assert bytes(cache.read(stored(server, key_of("other")), 0, 10)) == bytes(10)


def flipped(raw: bytes) -> bytes:
    return raw[:5000] + bytes([raw[5000] ^ 8]) + raw[5001:]


@pytest.mark.parametrize("damage", [lambda raw: raw[:-1], lambda raw: b"", flipped])
def test_a_damaged_block_on_the_disk_is_fetched_again(
    server: RangeServer, tmp_path: Path, damage: object
) -> None:
    cache_in(tmp_path / "cache").read(stored(server), 0, 10)
    path = tmp_path / "cache" / KEY / "0"
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert bytes(cache_in(tmp_path / "cache").read(stored(server), 0, 10)) == CONTENT[:10]
    assert server.asked["a.bin"] == 2
    assert path.stat().st_size == BLOCK_BYTES + 4


def test_wrong_bytes_are_asked_again_and_never_kept(server: RangeServer, tmp_path: Path) -> None:
    sums = {n: hashlib.sha256(CONTENT[n * BLOCK_BYTES :][:BLOCK_BYTES]).digest() for n in range(6)}

    def check(number: int, raw: bytes) -> str:
        return "" if hashlib.sha256(raw).digest() == sums[number] else f"block {number} is wrong"

    file = StoredFile(url=f"{server.url}/a.bin", key=KEY, size=SIZE, check=check)
    server.faults["a.bin"] = ["wrong", "wrong"]
    cache = cache_in(tmp_path / "cache")
    assert bytes(cache.read(file, 0, 100)) == CONTENT[:100]
    server.forever["a.bin"] = "wrong"
    with pytest.raises(DataError, match=r"bytes 262,144 to 524,288 .* 3 tries.*block 1 is wrong"):
        cache.read(file, BLOCK_BYTES, BLOCK_BYTES + 1)
    assert blocks(tmp_path / "cache") == ["0"]


def test_the_least_recently_used_blocks_go_first(tmp_path: Path) -> None:
    now = time.time()
    for number in range(10):
        path = tmp_path / KEY / f"{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(100))
        os.utime(path, (now - 10 * number, now - 10 * number))
    (tmp_path / KEY / ".7.1.1").write_bytes(bytes(5))
    os.utime(tmp_path / KEY / ".7.1.1", (now - 7200, now - 7200))  # of a killed process
    assert make_room(tmp_path, 1000) == 1000
    assert blocks(tmp_path) == [str(n) for n in range(10)]
    assert make_room(tmp_path, 800) == 700  # an eighth below the limit
    assert blocks(tmp_path) == [str(n) for n in range(7)]


@pytest.mark.parametrize(
    ("number", "left"), [(errno.ENOSYS, 700), (errno.EWOULDBLOCK, 1000), (errno.EACCES, 1000)]
)
def test_without_locks_room_is_made_and_where_another_makes_it_none_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, left: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, "flock")

    (tmp_path / KEY).mkdir()
    for block in range(10):
        (tmp_path / KEY / f"{block}").write_bytes(bytes(100))
    monkeypatch.setattr("fcntl.flock", flock)
    assert make_room(tmp_path, 800) == left
    assert len(blocks(tmp_path)) == left // 100


@pytest.fixture
def kept(tmp_path: Path) -> StoredFile:
    """A file of 100 MiB of which each block is on the disk; whoever fetches one fails."""
    (tmp_path / "cache" / KEY).mkdir(parents=True)
    raw = bytes(BLOCK_BYTES)
    raw += zlib.crc32(raw).to_bytes(4, "little")
    for number in range(400):
        (tmp_path / "cache" / KEY / f"{number:x}").write_bytes(raw)
    return StoredFile(url="http://127.0.0.1:1/none", key=KEY, size=400 * BLOCK_BYTES)


def test_blocks_that_are_held_keep_no_descriptor(tmp_path: Path, kept: StoredFile) -> None:
    before = psutil.Process().num_fds()
    cache = cache_in(tmp_path / "cache", 2**30)
    for number in range(100):
        cache.read(kept, number * BLOCK_BYTES, number * BLOCK_BYTES + 8)
    assert psutil.Process().num_fds() == before


def test_memory_does_not_grow_with_the_file(
    tmp_path: Path, kept: StoredFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roots.stores.block_cache._HELD", 16)
    cache = cache_in(tmp_path / "cache", 2**30)
    before = psutil.Process().memory_info().rss
    for start in range(0, kept.size, BLOCK_BYTES):
        cache.read(kept, start, start + BLOCK_BYTES)
    assert psutil.Process().memory_info().rss - before < 20 * 2**20


def test_what_we_did_not_write_is_neither_counted_nor_removed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    mine = [
        "thesis/.gitignore",
        "thesis/chapter1.tex",
        "thesis/12",  # a name that a block could have
        f"{KEY}/notes.txt",
        f"{KEY}/.env",
        f"{KEY}/.7.1",
        f"{KEY}/3/deep",
        f"{KEY.upper()}/0",
    ]
    for name in mine:
        path = tmp_path / "cache" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1000))
        os.utime(path, (1, 1))
    elsewhere.mkdir()
    (elsewhere / "0").write_bytes(bytes(1000))
    (tmp_path / "cache" / key_of("linked")).symlink_to(elsewhere)
    (tmp_path / "cache" / KEY / "5").symlink_to(elsewhere / "0")
    (tmp_path / "cache" / ".lock").write_text("of another program")
    ours = tmp_path / "cache" / KEY / "0"
    ours.write_bytes(bytes(100))
    assert make_room(tmp_path / "cache", 100) == 100
    assert ours.exists()
    assert make_room(tmp_path / "cache", 50) == 0
    assert not ours.exists()
    assert all((tmp_path / "cache" / name).is_file() for name in mine)
    assert (elsewhere / "0").exists()
    assert (tmp_path / "cache" / KEY / "5").is_symlink()
    assert (tmp_path / "cache" / ".lock").read_text() == "of another program"


@pytest.mark.parametrize("key", ["", "key", "../../home", KEY.upper(), KEY + "0"])
def test_a_key_that_could_be_the_name_of_anything_is_refused(key: str) -> None:
    with pytest.raises(DataError, match=rf"a\.bin is said to have the sha256 '{key}', which is"):
        StoredFile(url="s3://a/a.bin", key=key, size=1)
    StoredFile(url="s3://a/a.bin", key=KEY, size=1)


def test_a_small_cache_stays_small_and_right(tmp_path: Path, server: RangeServer) -> None:
    cache = cache_in(tmp_path / "cache")
    for number in range(30):
        file = stored(server, key_of(f"{number}"))
        assert bytes(cache.read(file, 0, SIZE)) == CONTENT
        size = sum(path.stat().st_size for path in (tmp_path / "cache").glob("*/*"))
        assert size <= LEAST + 2 * BLOCK_BYTES
    assert len(blocks(tmp_path / "cache")) >= 40


def test_a_block_that_was_used_stays(tmp_path: Path, server: RangeServer) -> None:
    cache_in(tmp_path / "cache").read(stored(server), 0, 10)
    path = tmp_path / "cache" / KEY / "0"
    os.utime(path, (1, 1))
    cache_in(tmp_path / "cache").read(stored(server), 0, 10)
    assert path.stat().st_mtime > 1e9


def test_threads_that_want_one_block_fetch_it_once(tmp_path: Path, server: RangeServer) -> None:
    cache, found = cache_in(tmp_path / "cache"), []
    threads = [
        threading.Thread(target=lambda: found.append(bytes(cache.read(stored(server), 5, 9))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENT[5:9]] * 8
    assert server.asked["a.bin"] == 1


def _read_all(folder: Path, url: str) -> list[bool]:
    cache = cache_in(folder)
    file = StoredFile(url=url, key=KEY, size=SIZE)
    return [
        bytes(cache.read(file, first, first + 1000)) == CONTENT[first : first + 1000]
        for first in (*range(0, SIZE - 1000, 70_001), SIZE - 1000)
    ]


@pytest.mark.heavy
def test_two_processes_share_a_folder(tmp_path: Path, server: RangeServer) -> None:
    url = f"{server.url}/a.bin"
    answers = run_ranks(_read_all, tmp_path / "cache", url, ranks=2, timeout=60)
    assert all(all(answer) for answer in answers)
    assert blocks(tmp_path / "cache") == ["0", "1", "2", "3", "4", "5"]


def test_a_full_disk_makes_it_slow_and_is_told_once(
    tmp_path: Path, server: RangeServer, monkeypatch: pytest.MonkeyPatch, capsys: object
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    cache = cache_in(tmp_path / "cache")
    monkeypatch.setattr(Path, "write_bytes", full)
    assert bytes(cache.read(stored(server), 0, SIZE)) == CONTENT
    said = capsys.readouterr().err  # type: ignore[attr-defined]
    assert said.count("could not be kept") == 1
    assert "No space left" in said
    assert "set cache_gib lower or cache_dir to" in said
    assert blocks(tmp_path / "cache") == []


def test_a_cache_that_cannot_work_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"1,000 bytes is too small. Set cache_gib to 0\.0156"):
        cache_in(tmp_path, 1000)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file/in cannot be written to .*Set cache_dir"):
        cache_in(tmp_path / "file" / "in")
    cache_in(tmp_path / "in")
    shutil.rmtree(tmp_path / "in")


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.EACCES])
def test_a_block_that_cannot_be_read_is_fetched(
    server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    file = stored(server)
    assert cache_in(tmp_path / "cache").read(file, 0, 100) == CONTENT[:100]
    kept, opened = tmp_path / "cache", Path.open

    def fails(path: Path, *args: object, **settings: object) -> object:
        if kept in path.parents and args == ("rb",):
            raise OSError(number, os.strerror(number))
        return opened(path, *args, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", fails)
    assert cache_in(tmp_path / "cache").read(file, 0, 100) == CONTENT[:100]


def test_a_block_is_checked_each_time_that_it_comes_from_the_disk(
    server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roots.stores.block_cache._HELD", 1)
    cache, file = cache_in(tmp_path / "cache"), stored(server)
    for _ in range(2):  # from the store, then from the disk
        for block in (0, 1):
            cache.read(file, block * BLOCK_BYTES, block * BLOCK_BYTES + 8)
    for path in (tmp_path / "cache").glob("*/*"):
        raw = bytearray(path.read_bytes())
        raw[3] ^= 1
        path.write_bytes(bytes(raw))
    assert cache.read(file, 0, 8) == CONTENT[:8]


def test_a_block_that_was_kept_before_its_sum_was_known_is_compared_with_it(
    server: RangeServer, tmp_path: Path
) -> None:
    wrong = flipped(CONTENT)
    (server.folder / "a.bin").write_bytes(wrong)
    file = stored(server)
    assert cache_in(tmp_path / "cache").read(file, 0, 6000) == wrong[:6000]
    (server.folder / "a.bin").write_bytes(CONTENT)
    known = dataclasses.replace(file, sum_of=lambda _number: zlib.crc32(CONTENT[:BLOCK_BYTES]))
    for _ in range(2):
        assert cache_in(tmp_path / "cache").read(known, 0, 6000) == CONTENT[:6000]
    assert server.asked["a.bin"] == 2
