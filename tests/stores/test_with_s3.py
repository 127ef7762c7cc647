"""A corpus in an S3 store, served by moto on this machine: as from the local folder."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import urlopen

import fsspec
import pytest
import torch
from many_blocks import write_many_blocks

from roots.data import TokenCorpus
from roots.errors import DataError
from roots.shards import Streamed
from roots.sources import Jsonl
from roots.stores import located

MISSING = [name for name in ("s3fs", "moto", "flask") if find_spec(name) is None]
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"{', '.join(MISSING)} not installed: pip install s3fs 'moto[server]'"
)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            try:
                urlopen(f"{url}/moto-api/", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "for-a-test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr("roots.stores.patience.sleep", lambda _: None)
    store = fsspec.filesystem("s3")
    store.mkdir("shards")
    yield store
    store.rm("shards", recursive=True)
    type(store).clear_instance_cache()


def batches(shards: Any) -> list[torch.Tensor]:
    data = TokenCorpus(shards=shards, seq_len=64, sequences_per_step=16)
    device = SimpleNamespace(type="cpu")
    strategy = SimpleNamespace(data_parallel_rank=0, data_parallel_size=1, root_device=device)
    data.trainer = SimpleNamespace(strategy=strategy, seed=1, global_step=3, max_steps=9)  # type: ignore[assignment]
    return [batch.input_ids for batch in data.train_dataloader()]


def test_a_corpus_in_s3_gives_the_batches_of_the_folder(
    bucket: Any, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_many_blocks(tmp_path / "made" / "corpus", shards)
    bucket.put(str(folder), "shards/corpus", recursive=True)
    here = batches(str(folder))
    there = batches(Streamed(url="s3://shards/corpus", cache_dir=str(tmp_path / "cache")))
    assert len(here) == 6
    assert all(torch.equal(one, other) for one, other in zip(here, there, strict=True))

    real, faults = type(bucket)._cat_file, [TimeoutError(), "short", "wrong"]

    async def faulty(self: Any, path: str, **bounds: Any) -> bytes:
        raw: bytes = await real(self, path, **bounds)
        if not faults or not path.endswith("train.bin"):
            return raw
        fault = faults.pop(0)
        if isinstance(fault, Exception):
            raise fault
        return raw[:-9] if fault == "short" else b"\xff\xff" + raw[2:]

    monkeypatch.setattr(type(bucket), "_cat_file", faulty)
    type(bucket).clear_instance_cache()
    again = batches(Streamed(url="s3://shards/corpus", cache_dir=str(tmp_path / "other")))
    assert faults == []
    assert all(torch.equal(one, other) for one, other in zip(here, again, strict=True))


def test_texts_in_s3_are_read_and_listed(bucket: Any, tmp_path: Path) -> None:
    bucket.pipe_file("shards/texts/a.jsonl", b'{"text": "one"}\n{"text": "two"}\n')
    bucket.pipe_file("shards/texts/in/b.jsonl", b'{"text": "three"}\n')
    for paths in ("s3://shards/texts", "s3://shards/texts/**/*.jsonl", "s3://shards/texts/"):
        source = Jsonl(paths=paths)
        assert [each.text for each in source.documents()] == ["one", "two", "three"], paths
    path = located("s3://shards/texts/a.jsonl")
    before = path.stat()
    bucket.pipe_file("shards/texts/a.jsonl", b'{"text": "uno"}\n{"text": "two"}\n')
    assert path.stat().st_size == before.st_size
    assert path.stat().st_mtime_ns != before.st_mtime_ns
    with pytest.raises(DataError, match=r"s3://shards/none\.jsonl names nothing to read"):
        Jsonl(paths="s3://shards/none.jsonl").files()
