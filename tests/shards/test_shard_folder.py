"""ShardFolder and Manifest: what does not fit its manifest is refused, with what was expected."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest

from roots.errors import ConfigError, DataError
from roots.shards import Manifest, ShardFolder, ShardWriter, SplitRecord


@pytest.fixture
def folder(tmp_path) -> Path:
    root = tmp_path / "corpus"
    records = {}
    for split, documents in {"train": [[5, 6, 0], [7, 0]], "val": [[8, 0]]}.items():
        with ShardWriter(root / split, vocab_size=100) as writer:
            for ids in documents:
                writer.add(ids)
        files = tuple(writer.files())
        records[split] = SplitRecord(writer.n_documents, writer.n_tokens, 9, files)
    manifest = Manifest(
        dtype="uint16",
        vocab_size=100,
        eos_id=0,
        tokenizer_fingerprint="t",
        input_fingerprint="i",
        recipe={"seed": 1},
        splits=records,
        documents_read=3,
        documents_dropped={},
    )
    (root / "manifest.json").write_text(manifest.to_json())
    return root


def test_a_folder_opens_with_its_splits(folder) -> None:
    opened = ShardFolder.open(folder)
    assert opened.splits == ("train", "val")
    assert opened.shard("train").tokens.tolist() == [5, 6, 0, 7, 0]
    assert opened.tokenizer_path == folder / "tokenizer"
    opened.verify()


def test_a_manifest_read_and_written_is_the_same_text(folder) -> None:
    text = (folder / "manifest.json").read_text()
    assert Manifest.read(folder).to_json() == text
    assert text.endswith("}\n")
    assert list(json.loads(text)) == sorted(json.loads(text))


def test_an_unknown_split_is_refused_with_those_there_are(folder) -> None:
    with pytest.raises(ConfigError, match=r"no split 'test'; it has train, val"):
        ShardFolder.open(folder).shard("test")


def test_the_fingerprint_follows_the_files(folder) -> None:
    before = ShardFolder.open(folder).fingerprint
    content = json.loads((folder / "manifest.json").read_text())
    content["splits"]["val"]["files"][0]["sha256"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(content))
    assert ShardFolder.open(folder).fingerprint != before


@pytest.mark.parametrize("name", ["train.bin", "train.idx"])
def test_a_file_cut_short_is_refused_with_both_sizes(folder, name) -> None:
    path = folder / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-2])
    expected = rf"{name} is cut short: {len(whole) - 2:,} bytes found, {len(whole):,} expected"
    with pytest.raises(DataError, match=expected):
        ShardFolder.open(folder)
    path.write_bytes(whole)
    ShardFolder.open(folder)


def test_a_missing_file_is_refused(folder) -> None:
    (folder / "val.bin").unlink()
    with pytest.raises(DataError, match=r"val\.bin is missing"):
        ShardFolder.open(folder)


@pytest.mark.parametrize(
    ("offset", "raw", "words"),
    [
        (0, b"GGUF", r"no Megatron index: it begins b'GGUFI"),
        (9, struct.pack("<Q", 2), "version 2 and dtype code 8; expected version 1"),
        (17, b"\x06", "version 1 and dtype code 6; expected version 1 and one of"),
        (26, struct.pack("<Q", 2), "2 sequences in 1 documents; expected one"),
        (18, struct.pack("<QQ", 1, 2), "longer than it should be: 82 bytes found, 62 expected"),
        (42, struct.pack("<q", 4), "first document begins at byte 4"),
        (74, struct.pack("<q", 7), r"closes with 7 \(expected 2\)"),
    ],
)
def test_a_foreign_or_damaged_index_is_refused_by_what_it_says(folder, offset, raw, words) -> None:
    path = folder / "train.idx"
    content = bytearray(path.read_bytes())
    content[offset : offset + len(raw)] = raw
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        ShardFolder.open(folder)


def test_a_changed_token_is_found_by_verify_alone(folder) -> None:
    path = folder / "train.bin"
    path.write_bytes(b"\x09" + path.read_bytes()[1:])
    opened = ShardFolder.open(folder)
    with pytest.raises(DataError, match=r"train\.bin was changed: its sha256 is [0-9a-f]{64}"):
        opened.verify()


def test_a_swapped_shard_does_not_fit_its_manifest(folder) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    content["splits"]["val"]["tokens"] = 3
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"are \(1, 2, 'uint16'\), expected \(1, 3, 'uint16'\)"):
        ShardFolder.open(folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "has format None"),
        ('{"format": "roots-shards", "format_version": 9}', "version 9; expected 'roots-shards'"),
        ('{"format": "roots-shards", "format_version": 1}', "is damaged: KeyError: 'splits'"),
    ],
)
def test_a_damaged_manifest_is_refused(folder, text, words) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=words):
        ShardFolder.open(folder)


def test_shards_without_a_manifest_say_how_to_make_one(folder) -> None:
    (folder / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"no manifest\.json.*roots\.corpus\.adopt\(folder="):
        ShardFolder.open(folder)


def test_a_folder_that_is_not_there_is_named_in_full(tmp_path) -> None:
    with pytest.raises(DataError, match=rf"looked for {tmp_path}/nothing"):
        ShardFolder.open(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"is no folder of shards"):
        ShardFolder.open(tmp_path / "empty")


def test_a_moved_folder_opens(folder, tmp_path) -> None:
    shutil.move(folder, tmp_path / "elsewhere")
    assert ShardFolder.open(tmp_path / "elsewhere").shard("val").n_tokens == 2


def test_a_name_too_long_for_a_folder_is_one_that_is_not_there() -> None:
    with pytest.raises(DataError, match=r"x{300} does not exist .*Build it with `roots corpus"):
        ShardFolder.open("x" * 300)
