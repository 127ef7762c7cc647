"""Windows over a stretch of tokens against the stretch itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roots.batch import IGNORE
from roots.data import TokenSpan, Windows
from roots.shards import Shard, ShardWriter

EOS, FILLER = 0, 77
LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=8)


def a_shard(folder: Path, lengths: Sequence[int]) -> Shard:
    """Documents of these lengths, counted through: tokens 1, 2, 3, …, each closed by eos."""
    number = 0
    with ShardWriter(folder / "train", vocab_size=1000) as writer:
        for length in lengths:
            writer.add([*range(number + 1, number + length), EOS])
            number += length
    return Shard(folder / "train")


def all_of(windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    return windows.read(np.arange(len(windows)))


def targets_of(shard: Shard, start: int, stop: int) -> list[int]:
    """The target of every position but the last, by definition."""
    tokens = np.asarray(shard.tokens).tolist()
    return [
        IGNORE if tokens[at] == EOS else tokens[at + 1]  # eos closes a document
        for at in range(start, stop - 1)
    ]


@given(lengths=LENGTHS, seq_len=st.integers(1, 9), data=st.data())
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_position_is_an_input_once_with_the_next_token_as_its_label(
    tmp_path: Path, lengths: list[int], seq_len: int, data: st.DataObject
) -> None:
    shard = a_shard(tmp_path, lengths)
    start = data.draw(st.integers(0, shard.n_tokens - 1))
    stop = data.draw(st.integers(start, shard.n_tokens))
    span = TokenSpan(shard, start, stop)
    windows = Windows(span, seq_len=seq_len, keep_last=True, filler=FILLER)
    inputs, labels = all_of(windows)
    n = max(stop - start - 1, 0)
    assert len(span) == stop - start
    assert inputs.shape == labels.shape == (-(-n // seq_len), seq_len)
    assert inputs.ravel()[:n].tolist() == np.asarray(shard.tokens[start : start + n]).tolist()
    assert labels.ravel()[:n].tolist() == targets_of(shard, start, stop)
    assert set(inputs.ravel()[n:]) <= {FILLER}
    assert set(labels.ravel()[n:]) <= {IGNORE}


@given(lengths=LENGTHS, seq_len=st.integers(1, 9))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_target_is_predicted_once(tmp_path: Path, lengths: list[int], seq_len: int) -> None:
    # within a document every token but its first can be predicted: from what stands before it
    shard = a_shard(tmp_path, lengths)
    span = TokenSpan(shard, 0, shard.n_tokens)
    _, labels = all_of(Windows(span, seq_len=seq_len, keep_last=True, filler=FILLER))
    documents = [shard.document(i).tolist() for i in range(shard.n_documents)]
    expected = [token for document in documents for token in document[1:]]
    assert labels[labels != IGNORE].tolist() == expected


@pytest.mark.parametrize(
    ("n_tokens", "full", "kept"), [(1, 0, 0), (4, 0, 1), (5, 1, 1), (6, 1, 2), (9, 2, 2)]
)
def test_without_the_last_one_only_full_windows_count(
    tmp_path: Path, n_tokens: int, full: int, kept: int
) -> None:
    # four inputs need five tokens: the last is only ever a target
    span = TokenSpan(a_shard(tmp_path, [n_tokens]), 0, n_tokens)
    counts = [len(Windows(span, seq_len=4, keep_last=k, filler=FILLER)) for k in (False, True)]
    assert counts == [full, kept]


def test_a_full_window_has_no_filler(tmp_path: Path) -> None:
    span = TokenSpan(a_shard(tmp_path, [30]), 0, 30)
    inputs, _ = all_of(Windows(span, seq_len=4, keep_last=False, filler=FILLER))
    assert inputs.tolist() == np.arange(1, 29).reshape(7, 4).tolist()


def test_windows_come_in_the_order_they_are_asked_for(tmp_path: Path) -> None:
    span = TokenSpan(a_shard(tmp_path, [40]), 0, 40)
    windows = Windows(span, seq_len=4, keep_last=True, filler=FILLER)
    inputs, labels = windows.read(np.array([3, 0, 3]))
    assert inputs[:, 0].tolist() == [13, 1, 13]
    assert labels[:, 0].tolist() == [14, 2, 14]


def test_a_negative_index_is_all_filler(tmp_path: Path) -> None:
    span = TokenSpan(a_shard(tmp_path, [40]), 0, 40)
    windows = Windows(span, seq_len=4, keep_last=True, filler=FILLER)
    inputs, labels = windows.read(np.array([-1, 0]))
    assert inputs[0].tolist() == [FILLER] * 4
    assert labels[0].tolist() == [IGNORE] * 4
    assert labels[1].tolist() == [2, 3, 4, 5]


def test_what_is_read_are_copies_of_64_bits(tmp_path: Path) -> None:
    windows = Windows(
        TokenSpan(a_shard(tmp_path, [40]), 0, 40), seq_len=4, keep_last=True, filler=FILLER
    )
    inputs, labels = windows.read(np.array([0]))
    inputs[:] = 0
    assert windows.read(np.array([0]))[0].tolist() == [[1, 2, 3, 4]]
    assert inputs.dtype == labels.dtype == np.int64


@given(lengths=LENGTHS, seq_len=st.integers(1, 9), data=st.data())
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_window_knows_the_document_it_starts_in(
    tmp_path: Path, lengths: list[int], seq_len: int, data: st.DataObject
) -> None:
    shard = a_shard(tmp_path, lengths)
    start = data.draw(st.integers(0, shard.n_tokens - 1))
    windows = Windows(
        TokenSpan(shard, start, shard.n_tokens), seq_len=seq_len, keep_last=True, filler=FILLER
    )
    document_at = np.repeat(np.arange(len(lengths)), lengths)
    for index in range(len(windows)):
        assert windows.document_of(index) == document_at[start + index * seq_len]
