"""Steps: every rank's share of them, and the whole that they make."""

from __future__ import annotations

import copy
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from roots.batch import IGNORE, TokenBatch
from roots.data import Share, TokenCorpus, Windows, samples_at, share_of
from roots.data.joined import Batches
from roots.data.steps import StepsFrom, TrainSteps, ValidationSteps, step_loader
from roots.data.streams import InTurn, Shuffled
from roots.errors import ConfigError


@pytest.fixture
def corpus(shards: Path) -> TokenCorpus:
    return TokenCorpus(shards=str(shards), seq_len=16, sequences_per_step=12)


def train_steps(corpus: TokenCorpus, rank: int = 0, ranks: int = 1, seed: int = 1) -> TrainSteps:
    return TrainSteps(
        corpus.sequences("train"),
        corpus.token_bytes,
        stream=Shuffled(len(corpus.sequences("train")), seed),
        order=InTurn(12),
        share=share_of(12, rank=rank, ranks=ranks),
    )


def validation_steps(
    corpus: TokenCorpus, rank: int = 0, ranks: int = 1, n_windows: int | None = None
) -> ValidationSteps:
    windows = corpus.sequences("val")
    return ValidationSteps(
        windows,
        corpus.token_bytes,
        batches=Batches(
            [np.arange(len(windows) if n_windows is None else n_windows)], 12, ranks=ranks
        ),
        share=share_of(12, rank=rank, ranks=ranks),
    )


def assert_equal(ours: TokenBatch, theirs: TokenBatch) -> None:
    for field in fields(TokenBatch):
        a, b = getattr(ours, field.name), getattr(theirs, field.name)
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, field.name


def concatenated(parts: list[TokenBatch]) -> TokenBatch:
    tensors = {
        f.name: torch.cat([getattr(part, f.name) for part in parts])
        for f in fields(TokenBatch)
        if isinstance(getattr(parts[0], f.name), torch.Tensor)
    }
    return TokenBatch(step=parts[0].step, **tensors)


# -- shares -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 12])
def test_the_shares_cut_the_step_into_equal_parts(ranks: int) -> None:
    places = [share_of(12, rank=r, ranks=ranks).of(np.arange(12)) for r in range(ranks)]
    assert {len(p) for p in places} == {12 // ranks}
    assert np.concatenate(places).tolist() == list(range(12))


@pytest.mark.parametrize(
    ("rows", "ranks", "cures"), [(100, 8, (96, 104)), (13, 4, (12, 16)), (3, 8, (8,))]
)
def test_rows_that_the_ranks_do_not_divide_are_refused(
    rows: int, ranks: int, cures: tuple[int, ...]
) -> None:
    named = " or ".join(map(str, cures))
    with pytest.raises(ConfigError, match=rf"={rows} .* by {ranks} ranks .*_per_step to {named}\."):
        share_of(rows, rank=0, ranks=ranks)
    for cure in cures:
        assert share_of(cure, rank=0, ranks=ranks) == Share(0, cure // ranks, ranks)


# -- training steps ---------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [2, 3, 4])
@pytest.mark.parametrize("step", [0, 5, 1000])
def test_the_shares_of_all_ranks_make_the_step_of_one(
    corpus: TokenCorpus, ranks: int, step: int
) -> None:
    parts = [train_steps(corpus, rank, ranks)[step] for rank in range(ranks)]
    assert_equal(concatenated(parts), train_steps(corpus)[step])


def test_an_item_is_a_function_of_seed_and_step_alone(corpus: TokenCorpus) -> None:
    steps = train_steps(corpus)
    seventh = steps[7]
    steps[3]
    np.random.seed(0)
    torch.manual_seed(0)
    assert_equal(steps[7], seventh)
    assert_equal(copy.deepcopy(train_steps(corpus))[7], seventh)
    assert not torch.equal(train_steps(corpus, seed=2)[7].samples, seventh.samples)
    assert seventh.step == 7


def test_its_rows_are_the_windows_of_its_samples(corpus: TokenCorpus) -> None:
    batch, windows = train_steps(corpus)[4], corpus.sequences("train")
    inputs, labels = windows.read(batch.samples.numpy())
    assert batch.input_ids.tolist() == inputs.tolist()
    assert batch.labels.tolist() == labels.tolist()
    expected = samples_at(np.arange(48, 60), n_samples=len(windows), seed=1)
    assert batch.samples.tolist() == expected.tolist()


def test_the_steps_of_an_epoch_hold_each_window_once(corpus: TokenCorpus) -> None:
    steps, n = train_steps(corpus), len(corpus.sequences("train"))
    assert n > 24
    stream = np.concatenate([steps.samples(step) for step in range(3 * n // 12 + 1)])
    for epoch in range(3):
        assert sorted(stream[epoch * n : (epoch + 1) * n]) == list(range(n))


def test_n_bytes_are_the_bytes_of_the_labelled_text(corpus: TokenCorpus) -> None:
    batch, tokenizer = train_steps(corpus)[2], corpus.tokenizer
    for labels, n_bytes in zip(batch.labels, batch.n_bytes, strict=True):
        labelled = labels[labels != IGNORE].tolist()
        text = tokenizer.decode(i for i in labelled if i != tokenizer.eos_id)
        assert n_bytes == len(text.encode())


def test_the_labels_are_ragged(corpus: TokenCorpus) -> None:
    """Otherwise nothing here would notice a mean of means."""
    counts = {int((row != IGNORE).sum()) for row in train_steps(corpus)[0].labels}
    assert len(counts) > 1


# -- validation steps -------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_validation_reads_each_window_once_in_as_many_batches_on_each_rank(
    corpus: TokenCorpus, ranks: int
) -> None:
    by_rank = [validation_steps(corpus, rank, ranks) for rank in range(ranks)]
    assert len({len(steps) for steps in by_rank}) == 1
    batches = [concatenated([steps[i] for steps in by_rank]) for i in range(len(by_rank[0]))]
    samples = torch.cat([batch.samples for batch in batches])
    n = len(corpus.sequences("val"))
    assert samples[samples >= 0].tolist() == list(range(n))
    assert set(samples[samples < 0].tolist()) <= {-1}
    assert len(samples) - n < 12


@pytest.mark.parametrize("n_windows", [1, 5, 11, 12, 13])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_rows_are_dealt_evenly_and_no_micro_batch_is_filler_on_every_rank(
    corpus: TokenCorpus, ranks: int, n_windows: int
) -> None:
    by_rank = [validation_steps(corpus, rank, ranks, n_windows) for rank in range(ranks)]
    seen: list[int] = []
    for index in range(len(by_rank[0])):
        shares = [steps[index] for steps in by_rank]
        parts = [list(share.split(2)) for share in shares]
        assert len({len(each) for each in parts}) == 1  # as many forwards on every rank
        for alike in zip(*parts, strict=True):
            assert any((part.samples >= 0).any() for part in alike)
            assert {len(part) for part in alike} == {2}  # and whole ones: nothing is compiled anew
        real = [int((share.samples >= 0).sum()) for share in shares]
        assert max(real) == -(-sum(real) // ranks)
        seen += [int(s) for each in parts for part in each for s in part.samples if s >= 0]
    assert seen == list(range(n_windows))


def test_filler_rows_have_neither_labels_nor_bytes(corpus: TokenCorpus) -> None:
    steps = validation_steps(corpus, n_windows=5)
    assert len(steps) == 1
    batch = steps[0]
    assert batch.samples.tolist() == [0, 1, 2, 3, 4, *[-1] * 7]
    assert (batch.labels[5:] == IGNORE).all()
    assert (batch.n_bytes[5:] == 0).all()
    assert (batch.input_ids[5:] == corpus.tokenizer.eos_id).all()


def test_validation_ends(corpus: TokenCorpus) -> None:
    steps = validation_steps(corpus)
    with pytest.raises(IndexError, match=str(len(steps))):
        steps[len(steps)]
    assert len(list(step_loader(steps, None, pin=False))) == len(steps)


def test_all_bytes_of_the_validation_text_but_each_first_token_are_counted(
    corpus: TokenCorpus,
) -> None:
    steps = validation_steps(corpus)
    total = sum(int(steps[i].n_bytes.sum()) for i in range(len(steps)))
    shard, tokenizer = corpus.folder.shard("val"), corpus.tokenizer
    documents = [shard.document(i).tolist() for i in range(shard.n_documents)]
    texts = [tokenizer.decode(document[1:-1]) for document in documents]
    assert total == sum(len(text.encode()) for text in texts)


# -- the loader -------------------------------------------------------------------------------


def test_the_sampler_asks_for_the_first_step_when_it_starts() -> None:
    done = [0]
    sampler = StepsFrom(lambda: done[0], 6)
    assert list(sampler) == [0, 1, 2, 3, 4, 5]
    done[0] = 4
    assert list(sampler) == [4, 5]
    assert len(sampler) == 6


def test_the_loader_gives_the_steps_as_they_are(corpus: TokenCorpus) -> None:
    steps = train_steps(corpus)
    loaded = list(step_loader(steps, StepsFrom(lambda: 2, 5), pin=False))
    assert [batch.step for batch in loaded] == [2, 3, 4]
    for batch in loaded:
        assert_equal(batch, steps[batch.step])


def test_windows_are_only_read_when_a_step_is(corpus: TokenCorpus) -> None:
    class Counting(Windows):
        n_read = 0

        def _fill(self, *args: object) -> None:  # type: ignore[override]
            Counting.n_read += 1
            super()._fill(*args)  # type: ignore[arg-type]

    span = corpus.sequences("train").span
    windows = Counting(span, seq_len=16, keep_last=False, filler=0)
    steps = TrainSteps(
        windows,
        corpus.token_bytes,
        stream=Shuffled(len(windows), 1),
        order=InTurn(12),
        share=Share(1, 3, 4),
    )
    steps[10**6]
    assert Counting.n_read == 3
