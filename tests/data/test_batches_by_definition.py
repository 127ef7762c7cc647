"""Batches of training steps against their definition: one place and one token at a time."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.batch import IGNORE, TokenBatch
from roots.data import TokenSpan, Windows
from roots.data.blending import FOREVER, Blend
from roots.data.growing import Growing
from roots.data.joined import JoinedTokens
from roots.data.steps import PLACES_AT_ONCE, LabelledBytes, Share, TrainSteps
from roots.data.streams import Blended, InTurn, Order, Shuffled, Stream
from roots.errors import DataError
from roots.shards import Shard, ShardWriter

VOCABULARY, EOS = 50, 0
TOKEN_BYTES = np.arange(VOCABULARY, dtype=np.int64) * 3 % 7
LENGTHS = st.lists(st.integers(1, 12), min_size=3, max_size=20)


def documents(lengths: Sequence[int], seed: int) -> list[list[int]]:
    drawer = np.random.default_rng(seed)
    return [[*drawer.integers(1, VOCABULARY, n - 1).tolist(), EOS] for n in lengths]


def windows_of(texts: list[list[int]], folder: Path, seq_len: int, apart: bool) -> Windows:
    with ShardWriter(folder / "train", vocab_size=VOCABULARY) as writer:
        for text in texts:
            writer.add(text)
    shard = Shard(folder / "train")
    span = TokenSpan(shard, 0, shard.n_tokens)
    return Windows(span, seq_len=seq_len, keep_last=False, filler=EOS, apart=apart)


def row_by_definition(texts: list[list[int]], row: int, seq_len: int) -> dict[str, list[int]]:
    """The row-th window: token by token, from the documents as lists."""
    stream = [(token, number) for number, text in enumerate(texts) for token in text]
    inputs, labels, owners = [], [], []
    for at in range(row * seq_len, (row + 1) * seq_len):
        (token, owner), (following, next_owner) = stream[at], stream[at + 1]
        inputs.append(token)
        labels.append(following if next_owner == owner else IGNORE)
        owners.append(owner - stream[row * seq_len][1])
    n_bytes = sum(int(TOKEN_BYTES[label]) for label in labels if label != IGNORE)
    return {"input_ids": inputs, "labels": labels, "document_ids": owners, "n_bytes": [n_bytes]}


def rows_by_definition(stream: Stream, order: Order, step: int, share: Share) -> list[int]:
    """The rows of a share, each place of the step drawn by itself."""
    drawn = [int(stream.draw(np.array([at])).samples[0]) for at in order.positions(step)]
    n_mine = len(drawn) // share.ranks
    return drawn[share.rank * n_mine : (share.rank + 1) * n_mine]


def assert_is(batch: TokenBatch, rows: list[int], expected: list[dict[str, list[int]]]) -> None:
    assert batch.samples.tolist() == rows
    assert batch.n_bytes.tolist() == [row["n_bytes"][0] for row in expected]
    for name in ("input_ids", "labels", "document_ids"):
        found = getattr(batch, name)
        assert found is not None
        assert found.tolist() == [row[name] for row in expected], name
        assert found.is_contiguous()
        assert found.dtype == torch.int64


@settings(max_examples=25, deadline=None)
@given(
    lengths=LENGTHS,
    seq_len=st.integers(1, 9),
    ranks=st.integers(1, 3),
    grows=st.booleans(),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_a_batch_is_its_definition_wherever_it_is(
    tmp_path_factory: pytest.TempPathFactory,
    lengths: list[int],
    seq_len: int,
    ranks: int,
    grows: bool,
    seed: int,
    data: st.DataObject,
) -> None:
    texts = documents([*lengths, seq_len + 1], seed)
    windows = windows_of(texts, tmp_path_factory.mktemp("s"), seq_len, apart=True)
    full = 4 * ranks
    order = Growing(first=ranks, full=full, steps=2000) if grows else InTurn(full)
    share = Share(data.draw(st.integers(0, ranks - 1)), 4, ranks)
    stream = Shuffled(len(windows), seed)
    steps = TrainSteps(windows, TOKEN_BYTES, stream=stream, order=order, share=share)
    first = data.draw(st.integers(0, 2000))
    for step in (first, first + 1, 0, 10**7):
        rows = rows_by_definition(stream, order, step, share)
        assert_is(steps[step], rows, [row_by_definition(texts, row, seq_len) for row in rows])


def test_a_batch_is_its_definition_where_others_are_drawn_together(tmp_path: Path) -> None:
    texts = documents([700] * 20, 1)
    windows = windows_of(texts, tmp_path, 2, apart=True)
    assert len(windows) > PLACES_AT_ONCE
    stream, order, share = Shuffled(len(windows), 5), InTurn(64), Share(0, 64)
    steps = TrainSteps(windows, TOKEN_BYTES, stream=stream, order=order, share=share)
    edge = PLACES_AT_ONCE // 64
    epoch = len(windows) // 64  # a step in two epochs
    for step in (edge - 1, edge, edge + 1, 0, epoch - 1, epoch, epoch + 1):
        rows = rows_by_definition(stream, order, step, share)
        assert_is(steps[step], rows, [row_by_definition(texts, row, 2) for row in rows])


def test_a_batch_of_two_corpora_is_its_definition(tmp_path_factory: pytest.TempPathFactory) -> None:
    texts = [documents([5, 9, 3, 20], 1), documents([40, 2, 2, 31], 2)]
    parts = [windows_of(each, tmp_path_factory.mktemp("s"), 4, apart=True) for each in texts]
    weights = [(0, [Fraction(1, 4), Fraction(3, 4)])]
    blend = Blend(weights, limits=[FOREVER, FOREVER], unit=6)
    stream = Blended(blend, {"a": len(parts[0]), "b": len(parts[1])}, seed=3)
    joined, order, share = JoinedTokens(parts), InTurn(6), Share(1, 3, 2)
    steps = TrainSteps(joined, TOKEN_BYTES, stream=stream, order=order, share=share)
    seen = set()
    for step in (0, 1, 5, 6, 4, 10**5):
        rows = rows_by_definition(stream, order, step, share)
        own = [(joined.part_of(row), row - joined.firsts[joined.part_of(row)]) for row in rows]
        expected = [row_by_definition(texts[part], row, 4) for part, row in own]
        assert_is(steps[step], rows, expected)
        seen |= {part for part, _ in own}
    assert seen == {0, 1}


def test_who_writes_to_a_batch_does_not_change_the_next_reading(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    windows = windows_of(documents([30], 1), tmp_path_factory.mktemp("s"), 4, apart=True)
    steps = TrainSteps(
        windows, TOKEN_BYTES, stream=Shuffled(7, 1), order=InTurn(3), share=Share(0, 3)
    )
    first = steps[2]
    rows = first.samples.tolist()
    first.samples.fill_(-1)
    first.input_ids.fill_(-1)
    assert steps[2].samples.tolist() == rows
    assert int(steps[2].input_ids.min()) >= 0


def test_ignored_labels_have_no_bytes_in_the_smallest_vocabulary() -> None:
    labels = np.array([[0, IGNORE, 0], [IGNORE, IGNORE, IGNORE]])
    assert LabelledBytes(np.array([5])).of(labels).tolist() == [10, 0]


def test_an_id_that_the_tokenizer_lacks_is_refused() -> None:
    labels = np.array([[3, IGNORE, 60]])
    with pytest.raises(DataError, match=r"the id 60, but the tokenizer has 50 tokens\. Give"):
        LabelledBytes(TOKEN_BYTES).of(labels)
    with pytest.raises(DataError, match="the id 50"):  # the first behind the last
        LabelledBytes(TOKEN_BYTES).of(labels - 10)
    larger = np.ones(61, dtype=np.int64)  # the tokenizer that made the ids
    assert LabelledBytes(larger).of(labels).tolist() == [2]
