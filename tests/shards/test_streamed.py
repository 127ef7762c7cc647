"""Shards in an object store: the same values as on this disk, and wrong ones are noticed."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from many_blocks import write_many_blocks
from range_server import RangeServer, serving

from roots.errors import ConfigError, DataError
from roots.shards import ShardFolder, Streamed
from roots.stores import BLOCK_BYTES, StoredPath
from roots.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def made(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_many_blocks(tmp_path_factory.mktemp("many") / "corpus", shards)


@pytest.fixture
def local(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "served" / "corpus"))


@pytest.fixture
def server(local: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeServer]:
    monkeypatch.setattr("roots.stores.patience.sleep", lambda _: None)
    with serving(local.parent) as running:
        yield running


def streamed(server: RangeServer, cache: Path, **settings: object) -> Streamed:
    return Streamed(url=f"{server.url}/corpus", cache_dir=str(cache), tries=3, **settings)  # type: ignore[arg-type]


def test_all_values_are_those_of_the_folder(
    server: RangeServer, local: Path, tmp_path: Path
) -> None:
    here, there = ShardFolder.open(local), ShardFolder.open(streamed(server, tmp_path / "cache"))
    assert there.manifest == here.manifest
    assert there.fingerprint == here.fingerprint
    assert isinstance(there.path, StoredPath)
    tokenizer = Tokenizer.load(there.tokenizer_path)
    assert tokenizer.fingerprint == here.manifest.tokenizer_fingerprint
    for split in here.splits:
        one, other = here.shard(split), there.shard(split)
        assert (one.n_tokens, one.n_documents) == (other.n_tokens, other.n_documents)
        assert np.array_equal(one.tokens, np.asarray(other.tokens))
        assert np.array_equal(one.document_starts[:], other.document_starts[:])
        for token in (0, 1, 130_999, 131_072, one.n_tokens - 1):
            assert one.tokens[token] == other.tokens[token]
            assert one.document_of(token) == other.document_of(token)
        assert np.array_equal(one.document_ends(90, 140_000), other.document_ends(90, 140_000))
        places = np.array([[5, one.n_tokens - 1], [131_071, 7]])
        assert np.array_equal(one.tokens[places], other.tokens[places])
        assert np.array_equal(one.tokens[100:3:-7], other.tokens[100:3:-7])
        assert np.array_equal(one.document(11), other.document(11))
        assert other.tokens[-1] == one.tokens[-1]
        with pytest.raises(IndexError):
            other.tokens[one.n_tokens]


def test_blocks_are_kept_in_a_folder_of_our_own(server: RangeServer, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "mine.txt").touch()
    ShardFolder.open(streamed(server, tmp_path / "cache"))
    found = sorted(path.name for path in (tmp_path / "cache").iterdir())
    assert found == ["mine.txt", "roots-blocks"]


def test_opening_reads_little(server: RangeServer, local: Path, tmp_path: Path) -> None:
    ShardFolder.open(streamed(server, tmp_path / "cache"))
    assert server.asked["corpus/train.bin"] == 0
    assert server.asked["corpus/train.idx"] <= 2  # its header, and the block of its ends


def test_a_block_that_arrives_wrong_is_asked_again(
    server: RangeServer, local: Path, tmp_path: Path
) -> None:
    assert sorted(path.name for path in ShardFolder.open(local).write_sums()) == [
        "train.bin.sums",
        "train.idx.sums",
        "val.bin.sums",
        "val.idx.sums",
    ]
    shard = ShardFolder.open(streamed(server, tmp_path / "cache")).shard("train")
    server.faults["corpus/train.bin"] = ["wrong"]
    assert shard.tokens[7] == ShardFolder.open(local).shard("train").tokens[7]
    server.forever["corpus/train.bin"] = "wrong"
    with pytest.raises(DataError, match=r"train\.bin: .* in 3 tries.*block 1 has the sum"):
        shard.tokens[BLOCK_BYTES // 2]
    server.forever.clear()
    assert int(shard.tokens[BLOCK_BYTES // 2]) >= 0


def test_without_sums_an_id_outside_the_vocabulary_is_noticed(
    server: RangeServer, local: Path, tmp_path: Path
) -> None:
    shard = ShardFolder.open(streamed(server, tmp_path / "cache")).shard("train")
    with (local / "train.bin").open("r+b") as file:
        file.seek(1001)
        file.write(b"\xff")
    with pytest.raises(DataError, match=r"block 0 holds the id 65,\d\d\d, outside 0 to 299"):
        shard.tokens[5]


def test_sums_of_another_file_are_refused(server: RangeServer, local: Path, tmp_path: Path) -> None:
    ShardFolder.open(local).write_sums()
    shutil.copy(local / "val.bin.sums", local / "train.bin.sums")
    with pytest.raises(DataError, match=r"train\.bin\.sums holds no sums of this train\.bin"):
        ShardFolder.open(streamed(server, tmp_path / "cache"))
    (local / "train.bin.sums").unlink()
    ShardFolder.open(streamed(server, tmp_path / "cache"))


def test_sums_are_not_written_of_what_was_changed(local: Path) -> None:
    folder = ShardFolder.open(local)
    raw = bytearray((local / "train.bin").read_bytes())
    raw[300_000] ^= 1
    (local / "train.bin").write_bytes(raw)
    with pytest.raises(DataError, match=r"train\.bin was changed"):
        folder.write_sums()
    assert not (local / "train.bin.sums").exists()


def test_verifying_reads_all_and_finds_one_changed_bit(
    server: RangeServer, local: Path, tmp_path: Path
) -> None:
    folder = ShardFolder.open(streamed(server, tmp_path / "cache"))
    folder.verify()
    raw = bytearray((local / "val.bin").read_bytes())
    raw[123_456] ^= 1
    (local / "val.bin").write_bytes(raw)
    with pytest.raises(DataError, match=r"corpus/val\.bin was changed: its sha256"):
        folder.verify()


def test_an_object_of_another_size_is_refused(
    server: RangeServer, local: Path, tmp_path: Path
) -> None:
    raw = (local / "train.bin").read_bytes()
    (local / "train.bin").write_bytes(raw[:-2])
    with pytest.raises(DataError, match=r"corpus/train\.bin is cut short: .* bytes found"):
        ShardFolder.open(streamed(server, tmp_path / "cache"))
    (local / "train.bin").unlink()
    with pytest.raises(DataError, match=r"train\.bin is missing, though the manifest lists it"):
        ShardFolder.open(streamed(server, tmp_path / "cache"))


def test_what_is_no_folder_of_shards_is_told(server: RangeServer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"/other holds no manifest\.json. Correct the URL"):
        ShardFolder.open(f"{server.url}/other")


def test_a_new_corpus_at_the_same_place_has_its_own_blocks(
    server: RangeServer, local: Path, tmp_path: Path, shards: Path
) -> None:
    before = ShardFolder.open(streamed(server, tmp_path / "cache"))
    old = np.asarray(before.shard("val").tokens)
    shutil.rmtree(local)
    shutil.copytree(shards, local)
    after = ShardFolder.open(streamed(server, tmp_path / "cache"))
    new = np.asarray(after.shard("val").tokens)
    assert np.array_equal(new, ShardFolder.open(shards).shard("val").tokens)
    assert len(old) != len(new)
    assert before.fingerprint != after.fingerprint


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"url=here/corpus is no URL.*given as `shards` itself"):
        Streamed(url="here/corpus")
    with pytest.raises(ConfigError, match="connections=0 and steps_ahead=2"):
        Streamed(url="s3://a/b", connections=0)
    with pytest.raises(ConfigError, match="timeout_seconds=0"):
        Streamed(url="s3://a/b", timeout_seconds=0)


@pytest.mark.parametrize("size", [math.inf, math.nan])
def test_a_cache_of_no_size_is_refused(size: float) -> None:
    with pytest.raises(ConfigError, match=rf"cache_gib={size} is no size\. Set it to the GiB"):
        Streamed(url="s3://a/b", cache_gib=size)
    Streamed(url="s3://a/b", cache_gib=0.5)


@pytest.mark.parametrize("tries", [1, 2])
def test_every_file_is_asked_for_as_often_as_was_set(
    server: RangeServer, tmp_path: Path, tries: int
) -> None:
    where = Streamed(url=f"{server.url}/corpus", cache_dir=str(tmp_path / "cache"), tries=tries)
    folder = ShardFolder.open(where)
    server.forever = dict.fromkeys(
        ["corpus/manifest.json", "corpus/tokenizer/tokenizer.json"], "503"
    )
    for name, read in (
        ("manifest.json", lambda: ShardFolder.open(where)),
        ("tokenizer/tokenizer.json", lambda: Tokenizer.load(folder.tokenizer_path)),
    ):
        before = server.asked[f"corpus/{name}"]
        with pytest.raises(DataError, match=rf"could not be read in {tries} tries"):
            read()
        assert server.asked[f"corpus/{name}"] - before == tries


def test_the_manifest_is_read_anew(server: RangeServer, local: Path, tmp_path: Path) -> None:
    before = ShardFolder.open(streamed(server, tmp_path / "cache")).manifest
    content = json.loads((local / "manifest.json").read_text())
    (local / "manifest.json").write_text(json.dumps({**content, "recipe": {"other": 1}}))
    assert ShardFolder.open(streamed(server, tmp_path / "cache")).manifest != before
