"""Best fit: every token once, what fits is whole, no row too long, as few rows as there can be."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_mixture import attached, mixed

from roots.batch import IGNORE
from roots.corpus import BytePairs, Corpus
from roots.data import TokenCorpus, packing_plan
from roots.data.best_fit import best_fit_decreasing, pack
from roots.data.packing_plan import keep_packing, packing_of, plan_folder
from roots.data.windows import TokenSpan
from roots.errors import ConfigError, DataError
from roots.shards import Shard, ShardWriter
from roots.sources import Text

SIZES = st.lists(st.integers(1, 70), min_size=1, max_size=60)


def one_by_one(sizes: list[int], room: int) -> int:
    """Counts the rows of best fit, as it is defined."""
    left: list[int] = []
    for size in sorted(sizes, reverse=True):
        fitting = [row for row, space in enumerate(left) if space >= size]
        if not fitting:
            left.append(room)
            fitting = [len(left) - 1]
        left[min(fitting, key=left.__getitem__)] -= size
    return len(left)


@given(sizes=SIZES, seq_len=st.integers(2, 64))
@settings(max_examples=200)
def test_every_token_comes_once_and_what_fits_is_whole(sizes: list[int], seq_len: int) -> None:
    each = np.array(sizes)
    starts = each.cumsum() - each
    packed = pack(starts, each, seq_len)
    tokens = [t for s, n in zip(packed.starts, packed.sizes, strict=True) for t in range(s, s + n)]
    assert sorted(tokens) == list(range(sum(sizes)))
    n_pieces = {int(s): 0 for s in starts}
    for start in packed.starts:
        n_pieces[int(starts[starts <= start][-1])] += 1
    assert list(n_pieces.values()) == [-(-size // seq_len) for size in sizes]  # 1 where it fits
    rows = np.split(packed.sizes, packed.ends[:-1])
    assert max(int(row.sum()) for row in rows) <= seq_len
    assert min(len(row) for row in rows) > 0


@given(sizes=st.lists(st.integers(1, 24), min_size=1, max_size=80), room=st.integers(24, 48))
@settings(max_examples=200)
def test_there_are_as_many_rows_as_best_fit_one_by_one_makes(sizes: list[int], room: int) -> None:
    rows = best_fit_decreasing(np.array(sizes), room)
    assert rows.max() + 1 == one_by_one(sizes, room)


def test_hundred_thousand_documents_are_packed_in_a_second_and_nearly_nothing_is_wasted() -> None:
    drawn = np.exp(np.random.default_rng(1).normal(6, 1.3, 100_000))  # like those of web pages
    sizes = np.minimum(drawn.astype(np.int64) + 1, 50_000)
    began = time.process_time()
    packed = pack(sizes.cumsum() - sizes, sizes, 2048)
    assert time.process_time() - began < 1
    assert 1 - sizes.sum() / (2048 * len(packed.ends)) < 0.002


# -- rows -------------------------------------------------------------------------------------


def corpus_of(shards: Any, **settings: Any) -> TokenCorpus:
    chosen = {"seq_len": 32, "sequences_per_step": 8, "packing": "best_fit", **settings}
    return TokenCorpus(shards=shards if not isinstance(shards, Path) else str(shards), **chosen)


def test_labels_are_the_next_tokens_of_the_same_document(shards: Path) -> None:
    corpus = attached(corpus_of(shards, attend_across_documents=False))
    shard = corpus.folder.shard("val")
    found = []
    for batch in corpus.val_dataloader():
        for ids, labels, documents in zip(
            batch.input_ids, batch.labels, batch.document_ids, strict=True
        ):
            for number in range(int(documents.max()) + 1):
                here = documents == number
                found.append((ids[here].tolist(), labels[here].tolist()))
    expected = []
    for index in range(shard.n_documents):
        tokens = shard.document(index).tolist()
        labels = [*tokens[1:], IGNORE]
        for first in range(0, len(tokens), 32):
            expected.append((tokens[first : first + 32], labels[first : first + 32]))
    assert sorted(found) == sorted(expected)


def test_a_torn_document_ends_where_its_stretch_does(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "train", vocab_size=100) as writer:
        writer.add(np.arange(50))
        writer.add(np.arange(50, 90))
    span = TokenSpan(Shard(tmp_path / "train"), 7, 66)
    from roots.data.best_fit import pack_span

    (packed,) = pack_span(span, 20)
    pieces = sorted(zip(packed.starts.tolist(), packed.sizes.tolist(), strict=True))
    assert pieces == [(7, 20), (27, 20), (47, 3), (50, 16)]


def test_parts_packed_one_by_one_are_joined(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("roots.data.best_fit.DOCUMENTS_TOGETHER", 10)
    corpus = attached(corpus_of(shards))
    in_memory = corpus.sequences("train")._packed
    assert not list(tmp_path.iterdir())
    corpus.prepare_data()
    corpus.setup("fit")
    mapped = corpus.sequences("train")._packed
    assert not mapped.starts.flags.writeable  # a file
    for one, two in zip(in_memory, mapped, strict=True):
        assert np.array_equal(one, two)
    assert int(mapped.sizes.sum()) == len(corpus.corpora.first.span("train"))


def test_a_plan_is_made_once_and_for_its_corpus_and_length(
    shards: Path, plays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    corpus_of(shards).prepare_data()
    assert len(list((tmp_path / "roots/packing").iterdir())) == 2  # train and val
    monkeypatch.setattr(packing_plan, "pack_span", lambda *_: pytest.fail("packed again"))
    corpus_of(shards).prepare_data()
    monkeypatch.undo()
    spans = [corpus_of(folder).corpora.first.span("train") for folder in (shards, plays)]
    assert len({plan_folder(s, n) for s in spans for n in (16, 32)}) == 4


def test_a_plan_that_was_cut_short_is_refused_and_made_again(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    corpus = corpus_of(shards)
    corpus.prepare_data()
    folder = plan_folder(corpus.corpora.first.span("train"), 32)
    n = (folder / "starts").stat().st_size // 8
    os.truncate(folder / "starts", 8 * (n - 1))
    with pytest.raises(DataError, match=rf"{folder} is damaged: {n - 1:,} starts, {n:,} sizes"):
        corpus.sequences("train")
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    corpus.prepare_data()
    assert len(corpus.sequences("train"))


def test_a_plan_that_another_has_written_meanwhile_stays(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    span = corpus_of(shards).corpora.first.span("train")
    folder, pack_span = plan_folder(span, 32), packing_plan.pack_span
    first: list[int] = []

    def overtaken(*given: Any) -> Any:
        monkeypatch.setattr(packing_plan, "pack_span", pack_span)
        keep_packing(span, 32)
        first.append((folder / "starts").stat().st_ino)
        return pack_span(*given)

    monkeypatch.setattr(packing_plan, "pack_span", overtaken)
    keep_packing(span, 32)
    assert [(folder / "starts").stat().st_ino] == first
    assert list(folder.parent.iterdir()) == [folder]
    assert int(packing_of(span, 32).sizes.sum()) == len(span)


@pytest.mark.parametrize("name", ["starts", "sizes", "ends"])
def test_a_plan_with_a_file_missing_is_refused_and_made_again(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    span = corpus_of(shards).corpora.first.span("train")
    keep_packing(span, 32)
    folder = plan_folder(span, 32)
    (folder / name).unlink()
    with pytest.raises(DataError, match=rf"{folder} is damaged: {name} of it is missing"):
        packing_of(span, 32)
    shutil.rmtree(folder)
    keep_packing(span, 32)
    assert int(packing_of(span, 32).sizes.sum()) == len(span)


def test_where_nothing_can_be_kept_rows_are_worked_out_in_memory(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "roots").write_text("a file in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    corpus = corpus_of(shards)
    corpus.prepare_data()
    assert len(corpus.sequences("train"))


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_and_mixtures_read_them_as_one(shards: Path, plays: Path, ranks: int) -> None:
    for source in (shards, mixed(shards, plays)):
        whole = list(attached(corpus_of(source), steps=6).train_dataloader())
        loaders = [
            attached(corpus_of(source), rank, ranks, steps=6).train_dataloader()
            for rank in range(ranks)
        ]
        for batch, parts in zip(whole, zip(*loaders, strict=True), strict=True):
            assert torch.equal(torch.cat([p.input_ids for p in parts]), batch.input_ids)


def test_a_limited_validation_reads_short_documents_as_often_as_a_whole_one(
    tmp_path: Path,
) -> None:
    """Rows are numbered as they are packed, the longest documents first."""
    for number in range(200):
        text = f"the cat sat on the mat and ran {number}\n" * (1 if number % 10 else 8)
        (tmp_path / f"{number:03d}.txt").write_text(text)
    shards = Corpus(
        source=Text(paths=[str(tmp_path)]),
        out=str(tmp_path / "shards"),
        tokenizer=BytePairs(vocab_size=300),
        val_fraction=0.5,
        workers=1,
    ).prepare(progress=False)
    settings = {"packing": "best_fit", "seq_len": 32}
    corpus = attached(corpus_of(shards, **settings, max_val_sequences=12))
    rows = corpus.sequences("val")
    read = np.concatenate([batch.samples.numpy() for batch in corpus.val_dataloader()])
    read = read[read >= 0]
    assert len(read) == len(set(read.tolist())) == 12 < len(rows) / 2

    def documents(chosen: np.ndarray) -> float:
        return float((rows.document_ids(chosen).max(1) + 1).mean())

    whole = documents(np.arange(len(rows)))
    assert documents(np.arange(12)) < 0.7 * whole  # so much are the first ones apart
    assert documents(read) == pytest.approx(whole, rel=0.15)


def test_the_plan_of_a_run_says_how_full_rows_are(shards: Path) -> None:
    corpus = corpus_of(shards)
    rows = corpus.sequences("train")
    filled = len(corpus.corpora.first.span("train")) / (32 * len(rows))
    assert f"rows are filled to {filled:.2%}" in corpus.describe()


def test_a_packing_that_there_is_not_is_refused(shards: Path) -> None:
    with pytest.raises(ConfigError, match=r"no packing 'best_fitt' \(did you mean 'best_fit'\?\)"):
        corpus_of(shards, packing="best_fitt")


def test_packed_documents_cost_what_each_costs_alone(shards: Path) -> None:
    from tiny import LLAMA

    from roots.networks import CAUSAL_LM, Scratch, Trainable, check_packing
    from roots.objectives import NextToken

    corpus = attached(corpus_of(shards, attend_across_documents=False))
    settings = {**LLAMA, "initializer_range": 0.2}
    network = Scratch(config=settings).build(
        corpus.vocabulary, seed=1, device=torch.device("cpu"), head=CAUSAL_LM
    )
    check_packing(network)
    trainable = Trainable(network, NextToken())
    trainable.check()
    batch = next(iter(corpus.train_dataloader()))
    assert batch.document_ids is not None
    alone, n_documents = torch.zeros(()), 0
    for row, documents in enumerate(batch.document_ids):
        for number in range(int(documents.max()) + 1):
            here = documents == number
            logits = trainable.logits(batch.input_ids[row, here][None])
            labels = batch.labels[row, here][None]
            alone = alone + NextToken().from_logits(logits, labels).loss
            n_documents += 1
    assert n_documents > len(batch)
    torch.testing.assert_close(trainable(batch).loss, alone, rtol=1e-5, atol=0)
