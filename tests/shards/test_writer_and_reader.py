"""ShardWriter and Shard: what is written comes back, in Megatron's bytes, or not at all."""

from __future__ import annotations

import struct
import tracemalloc
from itertools import chain
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.errors import DataError
from roots.shards import Shard, ShardWriter

DOCUMENTS = [[5, 6, 0], [7, 0], [1, 2, 3, 4, 0]]


def write(prefix: Path, documents=DOCUMENTS, vocab_size: int = 100) -> Path:
    with ShardWriter(prefix, vocab_size=vocab_size) as writer:
        for ids in documents:
            writer.add(ids)
    return prefix


@settings(max_examples=40, deadline=None)
@given(
    documents=st.lists(st.lists(st.integers(0, 299), min_size=1, max_size=20), max_size=12),
    vocab_size=st.sampled_from([300, 65_536, 65_537, 2**31]),
)
def test_what_is_written_comes_back(tmp_path_factory, documents, vocab_size) -> None:
    shard = Shard(write(tmp_path_factory.mktemp("s") / "train", documents, vocab_size))
    assert shard.n_documents == len(documents)
    assert shard.n_tokens == sum(map(len, documents))
    assert [shard.document(i).tolist() for i in range(len(documents))] == documents


def test_the_bytes_are_megatrons(tmp_path) -> None:
    """Read by struct alone, after megatron/core/datasets/indexed_dataset.py."""
    write(tmp_path / "train")
    raw = (tmp_path / "train.idx").read_bytes()
    assert raw[:9] == b"MMIDIDX\x00\x00"
    assert struct.unpack_from("<Q", raw, 9) == (1,)
    assert struct.unpack_from("<B", raw, 17) == (8,)
    assert struct.unpack_from("<Q", raw, 18) == (3,)
    assert struct.unpack_from("<Q", raw, 26) == (4,)
    assert struct.unpack_from("<3i", raw, 34) == (3, 2, 5)
    assert struct.unpack_from("<3q", raw, 46) == (0, 6, 10)
    assert struct.unpack_from("<4q", raw, 70) == (0, 1, 2, 3)
    assert len(raw) == 102
    assert (tmp_path / "train.bin").read_bytes() == struct.pack("<10H", *chain(*DOCUMENTS))


@pytest.mark.parametrize(
    ("vocab_size", "dtype", "code"),
    [(65_536, "uint16", 8), (65_537, "int32", 4)],
)
def test_sixteen_bits_are_used_while_the_ids_fit(tmp_path, vocab_size, dtype, code) -> None:
    shard = Shard(write(tmp_path / "train", [[vocab_size - 1, 0]], vocab_size))
    assert shard.dtype.name == dtype
    assert (tmp_path / "train.idx").read_bytes()[17] == code
    assert shard.tokens.tolist() == [vocab_size - 1, 0]


@pytest.mark.parametrize("wrong", [100, 65_536 + 5, -1])
def test_an_id_that_does_not_fit_is_refused_with_its_document(tmp_path, wrong) -> None:
    with pytest.raises(DataError, match=rf"Document 1 .* id {wrong:,}, outside 0 to 99"):
        write(tmp_path / "train", [[1, 2], [3, wrong]])
    assert list(tmp_path.iterdir()) == []
    fits = max(wrong, 3) + 1
    assert Shard(write(tmp_path / "train", [[3, max(wrong, 0)]], fits)).n_tokens == 2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ([1.7, 2.2], r"type float64, such as 1\.7"),
        (np.array([1.0, 2.0], dtype=np.float32), r"type float32, such as 1\.0"),
        (np.array([True, False]), "type bool, such as True"),
        (["1", "2"], r"type <U1, such as 1"),
        ([2**70], r"type object, such as 1180591620717411303424"),
    ],
)
def test_what_is_no_integer_is_refused_and_not_rounded(tmp_path, wrong, words: str) -> None:
    with (
        ShardWriter(tmp_path / "train", vocab_size=100) as writer,
        pytest.raises(DataError, match=rf"Document 0 of .* {words}, and ids of tokens are integ"),
    ):
        writer.extend(wrong)
    with ShardWriter(tmp_path / "train", vocab_size=100) as writer:
        writer.add(np.asarray([1.0, 2.0]).astype(np.int8))
    assert Shard(tmp_path / "train").tokens.tolist() == [1, 2]


def test_a_document_without_tokens_is_refused(tmp_path) -> None:
    with pytest.raises(DataError, match=r"Document 0 .* has 0 tokens"):
        write(tmp_path / "train", [[]])


def test_an_exception_leaves_no_file(tmp_path) -> None:
    def broken_off():
        yield [1, 2]
        assert len(list(tmp_path.iterdir())) == 2
        raise KeyError

    with pytest.raises(KeyError):
        write(tmp_path / "train", broken_off())
    assert list(tmp_path.iterdir()) == []


def test_parts_of_a_document_are_one_document(tmp_path) -> None:
    with ShardWriter(tmp_path / "train", vocab_size=100) as writer:
        writer.extend([1, 2])
        writer.extend(np.array([], dtype=np.int64))
        writer.extend(np.array([3], dtype=np.int32))
        writer.end_document()
        writer.add([4])
    shard = Shard(tmp_path / "train")
    assert [shard.document(0).tolist(), shard.document(1).tolist()] == [[1, 2, 3], [4]]


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=10),
    start=st.integers(0, 50),
    size=st.integers(0, 50),
)
def test_document_ends_are_those_of_a_plain_count(tmp_path_factory, lengths, start, size) -> None:
    prefix = tmp_path_factory.mktemp("s") / "train"
    shard = Shard(write(prefix, [[1] * (n - 1) + [0] for n in lengths]))
    expected = [i for i in np.cumsum(lengths) - 1 if start <= i < start + size]
    assert shard.document_ends(start, start + size).tolist() == expected
    owners = np.repeat(np.arange(len(lengths)), lengths).tolist()
    assert [shard.document_of(i) for i in range(shard.n_tokens)] == owners
    assert shard.document_starts[:].tolist() == [0, *np.cumsum(lengths)[:-1].tolist()]


@pytest.mark.parametrize("position", [-1, 10])
def test_a_token_outside_belongs_to_no_document(tmp_path, position) -> None:
    with pytest.raises(IndexError, match=r"which has 10"):
        Shard(write(tmp_path / "train")).document_of(position)


def test_ten_to_the_ten_tokens_open_without_memory(tmp_path) -> None:
    """A sparse file of 20 GB, and an index of 10^8 documents of 100 tokens, as sparse as can be."""
    n_documents, length = 10**8, 100
    prefix = sparse_shard(tmp_path, n_documents, length)
    before = psutil.Process().memory_info().rss
    shard = Shard(prefix)
    assert shard.n_tokens == 10**10
    assert shard.tokens[-1] == 0
    assert shard.document(n_documents - 1).shape == (length,)
    assert shard.document_of(shard.n_tokens - 1) == n_documents - 1
    assert shard.document_ends(shard.n_tokens - 50, shard.n_tokens).tolist() == [10**10 - 1]
    assert psutil.Process().memory_info().rss - before < 20 * 2**20


def sparse_shard(folder: Path, n_documents: int, length: int) -> Path:
    with (folder / "train.bin").open("wb") as file:
        file.truncate(2 * n_documents * length)
    with (folder / "train.idx").open("wb") as file:
        file.write(struct.pack("<9sQBQQ", b"MMIDIDX\x00\x00", 1, 8, n_documents, n_documents + 1))
        file.seek(34 + 4 * (n_documents - 1))
        file.write(struct.pack("<i", length))
        file.seek(34 + 12 * n_documents - 8)
        file.write(struct.pack("<q", 2 * length * (n_documents - 1)))
        file.seek(34 + 20 * n_documents)
        file.write(struct.pack("<q", n_documents))
    return folder / "train"


def test_memory_does_not_grow_with_documents(tmp_path) -> None:
    """A list of 20,000 lengths alone would be 160 kB."""
    with ShardWriter(tmp_path / "train", vocab_size=100) as writer:
        writer.add([1])
        tracemalloc.start()
        for _ in range(20_000):
            writer.add([1, 0])
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert kept < 50_000
    assert Shard(tmp_path / "train").n_documents == 20_001
