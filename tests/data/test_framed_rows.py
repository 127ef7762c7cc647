"""Rows with special tokens around them: nothing is lost, doubled or mixed."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.data.framed_rows import (
    NO_DOCUMENT,
    DocumentRows,
    Frame,
    FramedRows,
    Laid,
    PackedRows,
    StreamRows,
)
from roots.data.windows import TokenSpan
from roots.shards import Shard, ShardWriter

FRAME = Frame(begin=2, end=3, filler=0)
BEGIN, END, FILLER = FRAME


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shards")


def shard_of(folder: Path, lengths: list[int]) -> Shard:
    """Documents of rising tokens from 10 on, each with its end behind it."""
    first = 10
    with ShardWriter(folder / "train", vocab_size=60_000) as writer:
        for length in lengths:
            writer.add(np.array([*range(first, first + length), END]))
            first += length
    return Shard(folder / "train")


def span_of(folder: Path, lengths: list[int]) -> TokenSpan:
    shard = shard_of(folder, lengths)
    return TokenSpan(shard, 0, shard.n_tokens)


def documents(lengths: list[int]) -> list[list[int]]:
    ends = 10 + np.cumsum(lengths)
    return [list(range(end - n, end)) for n, end in zip(lengths, ends.tolist(), strict=True)]


def all_of(rows: FramedRows) -> Laid:
    return rows.lay(np.arange(len(rows), dtype=np.int64))


def ordinary(laid: Laid) -> list[int]:
    return [t for t in laid.input_ids.ravel().tolist() if t >= 10]


LENGTHS = st.lists(st.integers(0, 25), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, seq_len=st.integers(3, 16))
def test_windows_read_the_stream_once_and_in_order(
    folder: Path, lengths: list[int], seq_len: int
) -> None:
    span = span_of(folder, lengths)
    rows = StreamRows(span, seq_len=seq_len, keep_last=True, frame=FRAME)
    laid = all_of(rows)
    inner = [row[1 : n - 1] for row, n in zip(laid.input_ids, laid.lengths, strict=True)]
    assert np.concatenate(inner).tolist() == np.asarray(span.shard.tokens).tolist()
    for row, n in zip(laid.input_ids, laid.lengths.tolist(), strict=True):
        assert (row[0], row[n - 1]) == (BEGIN, END)
        assert (row[n:] == FILLER).all()
    assert (laid.lengths[:-1] == seq_len).all()
    full = StreamRows(span, seq_len=seq_len, keep_last=False, frame=FRAME)
    assert len(full) == len(span) // (seq_len - 2)


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, seq_len=st.integers(3, 16))
def test_a_row_is_of_one_document_and_documents_are_whole(
    folder: Path, lengths: list[int], seq_len: int
) -> None:
    rows = DocumentRows(span_of(folder, lengths), seq_len=seq_len, frame=FRAME)
    found: dict[int, list[int]] = {}
    for row in range(len(rows)):
        laid = rows.lay(np.array([row]))
        tokens = laid.input_ids[0].tolist()
        assert (tokens[0], tokens[-1]) == (BEGIN, END)
        assert len(tokens) == rows.lengths[row] <= seq_len
        found.setdefault(rows.document_of(row), []).extend(tokens[1:-1])
    expected = dict(enumerate(documents(lengths)))
    assert found == {n: tokens for n, tokens in expected.items() if tokens}


def test_rows_of_documents_are_filled_up_to_the_longest_and_a_filler_is_short(
    folder: Path,
) -> None:
    rows = DocumentRows(span_of(folder, [3, 1]), seq_len=9, frame=FRAME)
    laid = rows.lay(np.array([1, -1, 0]))
    assert laid.input_ids.tolist() == [
        [BEGIN, 13, END, FILLER, FILLER],
        [FILLER] * 5,
        [BEGIN, 10, 11, 12, END],
    ]
    assert laid.lengths.tolist() == [3, 1, 5]


@settings(max_examples=150, deadline=None)
@given(lengths=LENGTHS, seq_len=st.integers(3, 16))
def test_packed_rows_hold_every_token_once_each_piece_framed_and_of_one_document(
    folder: Path, lengths: list[int], seq_len: int
) -> None:
    rows = PackedRows(span_of(folder, lengths), seq_len=seq_len, keep_last=True, frame=FRAME)
    laid = all_of(rows)
    of_document = {t: n for n, tokens in enumerate(documents(lengths)) for t in tokens}
    assert ordinary(laid) == sorted(of_document)
    assert laid.document_ids is not None
    for ids, numbers, length in zip(laid.input_ids, laid.document_ids, laid.lengths, strict=True):
        assert (numbers[length:] == NO_DOCUMENT).all()
        assert (ids[length:] == FILLER).all()
        for number in np.unique(numbers[:length]):
            piece = ids[numbers == number].tolist()
            assert (piece[0], piece[-1]) == (BEGIN, END)
            assert len({of_document[t] for t in piece[1:-1]}) == 1  # and it holds text


def test_packed_rows_are_full_but_for_two_tokens(folder: Path) -> None:
    lengths = np.random.default_rng(0).integers(4, 40, 200).tolist()
    rows = PackedRows(span_of(folder, lengths), seq_len=32, keep_last=False, frame=FRAME)
    # a cut that leaves no text of a document in a row leaves its frame out: one or two more
    assert all_of(rows).lengths.min() >= 28
    assert all_of(rows).lengths.mean() > 31


def test_a_packed_row_is_found_without_those_before_it(folder: Path) -> None:
    lengths = np.random.default_rng(1).integers(1, 30, 50).tolist()
    rows = PackedRows(span_of(folder, lengths), seq_len=12, keep_last=True, frame=FRAME)
    whole = all_of(rows)
    for row in (len(rows) - 1, 7, 0, 23):
        alone = rows.lay(np.array([row, -1]))
        assert alone.input_ids[0].tolist() == whole.input_ids[row].tolist()
        assert alone.lengths[1] == 0
        assert alone.document_ids is not None
        assert (alone.document_ids[1] == NO_DOCUMENT).all()


@pytest.mark.parametrize("start", [0, 3, 7, 9])
@pytest.mark.parametrize("stop", [10, 14, 21])
def test_a_span_that_tears_documents_gives_its_own_tokens_alone(
    folder: Path, start: int, stop: int
) -> None:
    shard = shard_of(folder, [8, 4, 7])  # 21 tokens with the three ends
    span = TokenSpan(shard, start, stop)
    expected = [t for t in np.asarray(shard.tokens[start:stop]).tolist() if t >= 10]
    made: list[FramedRows] = [
        StreamRows(span, seq_len=6, keep_last=True, frame=FRAME),
        DocumentRows(span, seq_len=6, frame=FRAME),
        PackedRows(span, seq_len=6, keep_last=True, frame=FRAME),
    ]
    for rows in made:
        assert ordinary(all_of(rows)) == expected
        assert rows.document_of(0) == shard.document_of(start)


def test_an_empty_span_has_no_rows(folder: Path) -> None:
    span = TokenSpan(shard_of(folder, [4]), 5, 5)
    assert len(StreamRows(span, seq_len=6, keep_last=True, frame=FRAME)) == 0
    assert len(PackedRows(span, seq_len=6, keep_last=True, frame=FRAME)) == 0
    assert len(DocumentRows(span, seq_len=6, frame=FRAME)) == 0


def test_reading_few_documents_takes_no_memory_for_all_the_others(folder: Path) -> None:
    rows = DocumentRows(span_of(folder, [5] * 200), seq_len=16, frame=FRAME)
    expected = rows.lay(np.array([3, -1]))
    rows._starts, rows._sizes = np.tile(rows._starts, 1000), np.tile(rows._sizes, 1000)  # 1.6 MB
    tracemalloc.start()
    laid = rows.lay(np.array([3, -1]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000
    assert np.array_equal(laid.input_ids, expected.input_ids)
