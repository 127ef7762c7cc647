"""MaskedCorpus: what is hidden, in which rows, and that any step is found by itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from roots.batch import IGNORE, MaskedBatch
from roots.data import MaskedCorpus
from roots.errors import ConfigError
from roots.objectives import Masking

ROWS = ("windows", "documents", "packed")


def attached(
    shards: Path,
    rows: str = "windows",
    *,
    rank: int = 0,
    ranks: int = 1,
    seed: int = 1,
    first: int = 0,
    steps: int = 40,
    **settings: Any,
) -> MaskedCorpus:
    arguments = {"seq_len": 24, "sequences_per_step": 8, **settings}
    corpus = MaskedCorpus(shards=str(shards), rows=rows, **arguments)  # type: ignore[arg-type]
    strategy = SimpleNamespace(
        data_parallel_rank=rank, data_parallel_size=ranks, root_device=SimpleNamespace(type="cpu")
    )
    corpus.trainer = SimpleNamespace(  # type: ignore[assignment]
        strategy=strategy, seed=seed, global_step=first, max_steps=steps
    )
    return corpus


def original(batch: MaskedBatch) -> torch.Tensor:
    """The tokens before any was hidden."""
    return torch.where(batch.labels != IGNORE, batch.labels, batch.input_ids)


def epoch_of(corpus: MaskedCorpus) -> list[MaskedBatch]:
    steps = corpus.n_train // corpus.sequences_per_step
    corpus.trainer.max_steps = steps  # type: ignore[union-attr, misc]
    return list(corpus.train_dataloader())


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("rate", [0.15, 0.3])
def test_the_rates_are_those_asked_for_and_special_tokens_are_never_hidden(
    masked_shards: Path, rows: str, rate: float
) -> None:
    corpus = attached(masked_shards, rows, masking=Masking(rate=rate), steps=120)
    tokenizer, n, hidden, masked = corpus.tokenizer, 0, 0, 0
    special = torch.tensor(sorted(tokenizer.special_ids))
    for batch in corpus.train_dataloader():
        labelled = batch.labels != IGNORE
        assert not torch.isin(batch.labels[labelled], special).any()
        n += int((~torch.isin(original(batch), special)).sum())
        hidden += int(labelled.sum())
        masked += int((batch.input_ids[labelled] == tokenizer.mask_id).sum())
        assert bool((batch.input_ids == tokenizer.mask_id).sum() <= labelled.sum())
    # 4.5 deviations of the binomial; the number in a row varies less
    assert abs(hidden - n * rate) < 4.5 * np.sqrt(n * rate * (1 - rate))
    assert abs(masked - hidden * 0.8) < 4.5 * np.sqrt(hidden * 0.8 * 0.2)


@pytest.mark.parametrize("rows", ROWS)
def test_places_are_where_the_labels_are(masked_shards: Path, rows: str) -> None:
    for batch in attached(masked_shards, rows, steps=4).train_dataloader():
        for row, places in zip(batch.labels, batch.places, strict=True):
            assert places[places >= 0].tolist() == (row != IGNORE).nonzero().ravel().tolist()


@pytest.mark.parametrize("rows", ROWS)
def test_every_row_comes_once_an_epoch_and_is_hidden_anew_in_the_next(
    masked_shards: Path, rows: str
) -> None:
    corpus = attached(masked_shards, rows, sequences_per_step=1)
    n = corpus.n_train
    corpus.trainer.max_steps = 2 * n  # type: ignore[union-attr, misc]
    seen: dict[int, list[MaskedBatch]] = {}
    for batch in corpus.train_dataloader():
        seen.setdefault(int(batch.samples[0]), []).append(batch)
    assert sorted(seen) == list(range(n))
    assert {len(batches) for batches in seen.values()} == {2}
    same = [torch.equal(one.labels, two.labels) for one, two in seen.values()]
    assert all(torch.equal(original(one), original(two)) for one, two in seen.values())
    assert np.mean(same) < 0.5  # a row of one or two tokens may have the same hidden


@pytest.mark.parametrize("rows", ROWS)
def test_a_resumed_run_and_one_of_two_ranks_read_the_same(masked_shards: Path, rows: str) -> None:
    whole = list(attached(masked_shards, rows).train_dataloader())
    for batch in attached(masked_shards, rows, first=31).train_dataloader():
        same(batch, whole[batch.step], slice(None))
    for rank in (0, 1):
        for batch in attached(masked_shards, rows, rank=rank, ranks=2).train_dataloader():
            same(batch, whole[batch.step], slice(4 * rank, 4 * rank + 4))


def same(batch: MaskedBatch, whole: MaskedBatch, part: slice) -> None:
    """Rows of a rank may be filled up less far."""
    width = batch.labels.shape[1]
    assert torch.equal(batch.samples, whole.samples[part])
    assert torch.equal(batch.input_ids, whole.input_ids[part, :width])
    assert torch.equal(batch.labels, whole.labels[part, :width])
    assert torch.equal(batch.lengths, whole.lengths[part])


@pytest.mark.parametrize("rows", ROWS)
def test_a_validation_hides_the_same_at_every_time_and_seed(masked_shards: Path, rows: str) -> None:
    loaders = [attached(masked_shards, rows, seed=s, first=s).val_dataloader() for s in (1, 2)]
    for one, two in zip(*loaders, strict=True):
        assert torch.equal(one.input_ids, two.input_ids)
        assert torch.equal(one.labels, two.labels)
    train = next(iter(attached(masked_shards, rows).train_dataloader()))
    other = next(iter(attached(masked_shards, rows, seed=2).train_dataloader()))
    assert not torch.equal(train.labels, other.labels)


@pytest.mark.parametrize("rows", ROWS)
def test_a_validation_reads_every_token_on_any_number_of_ranks(
    masked_shards: Path, rows: str
) -> None:
    shard = attached(masked_shards).folder.shard("val")
    special = list(attached(masked_shards).tokenizer.special_ids)
    expected = np.asarray(shard.tokens)
    for ranks in (1, 2):
        found = [
            original(batch)[batch.samples >= 0].ravel().numpy()
            for rank in range(ranks)
            for batch in attached(masked_shards, rows, rank=rank, ranks=ranks).val_dataloader()
        ]
        counts = np.bincount(np.concatenate(found), minlength=200)
        counts[special] = 0
        wanted = np.bincount(expected, minlength=200)
        wanted[special] = 0
        assert counts.tolist() == wanted.tolist()


@pytest.mark.parametrize("rows", ["windows", "packed"])
def test_shapes_are_the_same_in_every_step(masked_shards: Path, rows: str) -> None:
    corpus = attached(masked_shards, rows, seq_len=60)
    shapes = {(b.input_ids.shape, b.places.shape) for b in corpus.train_dataloader()}
    assert shapes == {((8, 60), (8, 16))}  # 0.15 · 60 and one, rounded up to eights


@pytest.mark.parametrize("rows", ROWS)
def test_a_limit_holds_for_the_validation_and_not_for_what_is_predicted(
    masked_shards: Path, rows: str
) -> None:
    settings = {"seq_len": 16, "sequences_per_step": 4}
    whole = attached(masked_shards, rows, **settings)
    limited = attached(masked_shards, rows, **settings, max_val_sequences=6)

    def samples(batches: Any) -> list[int]:
        found = np.concatenate([batch.samples.numpy() for batch in batches])
        return sorted(found[found >= 0].tolist())

    every = list(range(len(whole.sequences("val"))))
    assert samples(limited.val_dataloader()) == every[:6] != every
    assert samples(limited.predict_dataloader()) == every


def test_documents_are_of_like_length_and_cut_to_the_longest(masked_shards: Path) -> None:
    corpus = attached(masked_shards, "documents", seq_len=64, sequences_per_step=4)
    for batch in epoch_of(corpus):
        for part in batch.split(2):
            assert part.input_ids.shape[1] == int(part.lengths.max())
            assert part.attention_mask is not None
            assert torch.equal(part.attention_mask.sum(1), part.lengths)
    mixed = attached(
        masked_shards, "documents", seq_len=64, sequences_per_step=4, like_lengths=False
    )
    waste = [c.step_metrics(0, 10, 2)["train/padding_fraction"] for c in (corpus, mixed)]
    assert waste[0] < waste[1] / 2
    assert corpus.tokens_until(3) == sum(int(b.lengths.sum()) for b in epoch_of(corpus)[:3])


def test_whole_words_are_hidden(text_folder: Path, masked_shards: Path) -> None:
    corpus = attached(masked_shards, masking=Masking(unit="word", rate=0.3))
    text = next(iter(corpus.train_dataloader()))
    tokens = corpus.tokenizer
    inside = torch.tensor([tokens.decode([i]).startswith("##") for i in range(tokens.vocab_size)])
    hidden, ids = text.labels != IGNORE, original(text)
    goes_on = inside[ids[:, 1:]]
    assert torch.equal(hidden[:, 1:][goes_on], hidden[:, :-1][goes_on])


# -- what is refused --------------------------------------------------------------------------


def test_rows_that_there_are_not_are_refused(masked_shards: Path) -> None:
    with pytest.raises(ConfigError, match=r"no rows 'window' \(did you mean 'windows'\?\)"):
        attached(masked_shards, "window")
    attached(masked_shards, "windows")


def test_a_row_without_room_for_a_token_is_refused(masked_shards: Path) -> None:
    with pytest.raises(ConfigError, match=r"seq_len=2 is too small\. Set data\.seq_len to 3"):
        attached(masked_shards, seq_len=2)
    attached(masked_shards, seq_len=3)


def test_a_tokenizer_without_a_mask_is_refused_before_anything_is_built(
    shards: Path, masked_shards: Path
) -> None:
    with pytest.raises(ConfigError, match=r"has no mask token .*mask_token is None"):
        attached(shards).setup("fit")
    attached(masked_shards).setup("fit")
