"""A corpus in an object store gives the batches that it gives from this disk."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from many_blocks import write_many_blocks
from range_server import RangeServer, serving
from ranks import run_ranks
from tiny import tiny_config

from roots.data import MaskedCorpus, Mixture, TokenCorpus
from roots.data.packing_plan import plan_folder
from roots.data.warming import Warmed
from roots.errors import CheckpointError, DataError
from roots.fit import compose
from roots.fit.compose import resumed
from roots.records import plain, rebuild
from roots.shards import Streamed


@pytest.fixture(scope="module")
def corpus(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_many_blocks(tmp_path_factory.mktemp("served") / "corpus", shards)


@pytest.fixture
def server(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeServer]:
    monkeypatch.setattr("roots.stores.patience.sleep", lambda _: None)
    with serving(corpus.parent) as running:
        yield running


def there(server: RangeServer, cache: Path, **settings: Any) -> Streamed:
    return Streamed(url=f"{server.url}/corpus", cache_dir=str(cache), tries=3, **settings)


def attached(data: Any, rank: int = 0, ranks: int = 1, first: int = 0, steps: int = 5) -> Any:
    strategy = SimpleNamespace(
        data_parallel_rank=rank, data_parallel_size=ranks, root_device=SimpleNamespace(type="cpu")
    )
    data.trainer = SimpleNamespace(
        strategy=strategy, seed=1, global_step=first, max_steps=steps, settle=lambda _: None
    )
    return data


def tokens(shards: Any, **settings: Any) -> TokenCorpus:
    return TokenCorpus(shards=shards, **{"seq_len": 64, "sequences_per_step": 16, **settings})


def assert_equal(one: Any, other: Any) -> None:
    batches = list(zip(one, other, strict=True))
    assert batches
    for left, right in batches:
        for name in ("input_ids", "labels", "samples", "n_bytes"):
            assert torch.equal(getattr(left, name), getattr(right, name)), name
        assert (left.document_ids is None) == (right.document_ids is None)
        if left.document_ids is not None:
            assert torch.equal(left.document_ids, right.document_ids)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"attend_across_documents": False},
        {"packing": "best_fit"},
        {"packing": "best_fit", "attend_across_documents": False},
    ],
)
def test_every_batch_is_that_of_the_local_folder(
    server: RangeServer, corpus: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    for rank in (0, 1):
        local = attached(tokens(str(corpus), **settings), rank, 2)
        remote = attached(tokens(there(server, tmp_path / "cache"), **settings), rank, 2)
        assert local.fingerprint == remote.fingerprint
        assert_equal(local.train_dataloader(), remote.train_dataloader())
        assert_equal(local.val_dataloader(), remote.val_dataloader())


def test_a_packing_opens_no_corpus_of_its_own(
    server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "default"))
    remote = tokens(there(server, tmp_path / "cache"), packing="best_fit")
    folder = remote.corpora.first.folder
    asked = server.asked["corpus/manifest.json"]
    remote.prepare_data()
    assert len(remote.sequences("train"))
    assert server.asked["corpus/manifest.json"] == asked
    assert [path.name for path in (tmp_path / "default/roots").iterdir()] == ["packing"]
    assert plan_folder(remote.corpora.first.span("train"), 64).is_dir()
    assert remote.corpora.first.span("train").fingerprint == folder.fingerprint


def test_masked_batches_are_those_of_the_local_folder(
    tmp_path: Path, masked_shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(masked_shards) as server:
        for rows in ("windows", "documents", "packed"):
            arguments: Any = {"rows": rows, "seq_len": 24, "sequences_per_step": 8}
            streamed = Streamed(url=f"{server.url}", cache_dir=str(tmp_path))
            local = attached(MaskedCorpus(shards=str(masked_shards), **arguments))
            remote = attached(MaskedCorpus(shards=streamed, **arguments))
            assert_equal(local.train_dataloader(), remote.train_dataloader())
            assert_equal(local.val_dataloader(), remote.val_dataloader())


def test_a_mixture_may_have_a_corpus_in_a_store(
    server: RangeServer, corpus: Path, shards: Path, tmp_path: Path
) -> None:
    def mixed(second: Any) -> TokenCorpus:
        corpora = {"here": str(shards), "there": second}
        data = attached(tokens(Mixture(corpora=corpora, weights={"here": 1, "there": 3})))
        data.setup("validate")
        return data

    local, remote = mixed(str(corpus)), mixed(there(server, tmp_path / "cache"))
    assert_equal(local.train_dataloader(), remote.train_dataloader())


def test_a_plain_url_is_enough(server: RangeServer, corpus: Path) -> None:
    remote = attached(tokens(f"{server.url}/corpus"))
    assert str(remote.path) == f"{server.url}/corpus"
    assert remote.describe().startswith(f"{server.url}/corpus: ")
    assert_equal(attached(tokens(str(corpus))).train_dataloader(), remote.train_dataloader())


@pytest.mark.parametrize("fault", ["hang", "cut", "short", "503"])
def test_faults_that_pass_change_nothing(
    server: RangeServer, corpus: Path, tmp_path: Path, fault: str
) -> None:
    server.faults = {"corpus/train.bin": [fault] * 2, "corpus/train.idx": ["cut"]}
    remote = attached(tokens(there(server, tmp_path / "cache", timeout_seconds=0.5)))
    assert_equal(attached(tokens(str(corpus))).train_dataloader(), remote.train_dataloader())
    assert not server.faults["corpus/train.bin"]


def test_a_store_that_stays_away_ends_the_run_with_its_url(
    server: RangeServer, tmp_path: Path
) -> None:
    remote = attached(tokens(there(server, tmp_path / "cache")))
    loader = remote.train_dataloader()
    server.forever["corpus/train.bin"] = "503"
    with pytest.raises(DataError, match=rf"^{server.url}/corpus/train\.bin: bytes .* in 3 tries"):
        next(iter(loader))
    server.forever.clear()
    assert next(iter(loader)).input_ids.shape == (16, 64)


def test_the_coming_steps_are_fetched_while_one_is_used(
    server: RangeServer, tmp_path: Path
) -> None:
    remote = attached(tokens(there(server, tmp_path / "cache", steps_ahead=2)), steps=5)
    dataset = remote.train_dataloader().dataset
    assert isinstance(dataset, Warmed)
    dataset[0]
    waiting = [row for rows in dataset._coming.values() for row in rows]
    assert list(dataset._coming) == [1, 2]
    for row in waiting:
        row.result(20)
    asked = server.asked["corpus/train.bin"]
    dataset.steps[2]
    assert server.asked["corpus/train.bin"] == asked
    dataset[4]  # a jump forgets what was passed
    assert list(dataset._coming) == []


def test_no_thread_is_left_behind(server: RangeServer, tmp_path: Path) -> None:
    loader = attached(tokens(there(server, tmp_path / "cache"))).train_dataloader()
    assert len(list(loader)) == 5
    fetching = [each for each in threading.enumerate() if each.name.startswith("fetch")]
    assert fetching
    del loader
    gc.collect()
    for each in fetching:
        each.join(20)
    assert not any(each.is_alive() for each in fetching)


def test_each_block_is_fetched_once_and_kept(
    server: RangeServer, corpus: Path, tmp_path: Path
) -> None:
    def read() -> None:
        remote = attached(tokens(there(server, tmp_path / "cache")), steps=40)
        assert len(list(remote.train_dataloader())) == 40

    read()
    n_blocks = -(-(corpus / "train.bin").stat().st_size // 2**18)
    assert server.asked["corpus/train.bin"] == n_blocks
    read()
    assert server.asked["corpus/train.bin"] == n_blocks


def _share(url: str, cache: str) -> list[list[int]]:
    import os

    rank = int(os.environ["RANK"])
    data = attached(tokens(Streamed(url=url, cache_dir=cache)), rank, 2)
    return [batch.input_ids.ravel().tolist() for batch in data.train_dataloader()]


def test_two_processes_read_their_shares_through_one_cache(
    server: RangeServer, corpus: Path, tmp_path: Path
) -> None:
    shares = run_ranks(_share, f"{server.url}/corpus", str(tmp_path / "cache"), timeout=120)
    whole = [b.input_ids.ravel().tolist() for b in attached(tokens(str(corpus))).train_dataloader()]
    assert [one + other for one, other in zip(*shares, strict=True)] == whole


def test_its_settings_are_kept_as_plain_values(server: RangeServer, tmp_path: Path) -> None:
    data = tokens(there(server, tmp_path / "cache", cache_gib=3.5))
    again = rebuild(plain(data)["init_args"]["shards"], Streamed)
    assert again.cache_gib == 3.5
    assert tokens(again).fingerprint == data.fingerprint


def test_a_run_trains_resumes_and_refuses_other_data(
    server: RangeServer, corpus: Path, tmp_path: Path
) -> None:
    streamed = plain(there(server, tmp_path / "cache"))

    def losses(shards: Any, runs: str) -> list[float]:
        found = tiny_config(corpus, tmp_path / runs, val_every_steps=6)
        found["data"]["init_args"].update(shards=shards, max_val_sequences=8)
        run = compose(found).fit()
        rows = (run.path / "metrics.csv").read_text().splitlines()
        column = rows[0].split(",").index("train/loss")
        return [float(row.split(",")[column]) for row in rows[1:] if row.split(",")[column]]

    assert losses(streamed, "there") == losses(str(corpus), "here")
    manifest = corpus / "manifest.json"
    text = manifest.read_text()
    made_with = json.loads(text)["tokenizer_fingerprint"]
    manifest.write_text(text.replace(made_with, "e" * 64))
    try:
        with pytest.raises(CheckpointError, match="are not those that"):
            resumed(str(next((tmp_path / "there" / "tiny").iterdir())), {}, [])
    finally:
        manifest.write_text(text)


def test_all_is_verified_before_the_first_step(
    server: RangeServer, corpus: Path, tmp_path: Path
) -> None:
    tokens(there(server, tmp_path / "cache", verify=True)).prepare_data()
    server.forever["corpus/train.bin"] = "wrong"
    with pytest.raises(DataError, match=r"train\.bin was changed: its sha256 is"):
        tokens(there(server, tmp_path / "cache", verify=True)).prepare_data()
    tokens(there(server, tmp_path / "cache")).prepare_data()


def test_rows_of_a_step_are_those_that_it_reads(shards: Path, masked_shards: Path) -> None:
    for data in (
        attached(tokens(str(shards), sequences_per_step=4, seq_len=16)),
        attached(MaskedCorpus(shards=str(masked_shards), seq_len=16, sequences_per_step=4)),
    ):
        for loader in (data.train_dataloader(), data.val_dataloader()):
            steps = loader.dataset
            for number in (0, 1):
                assert np.array_equal(steps.samples(number), steps[number].samples.numpy())
