"""Going on far into a huge corpus costs what starting costs."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from roots.data import share_of
from roots.data.steps import StepsFrom, TrainSteps, step_loader
from roots.data.streams import InTurn, Shuffled
from roots.data.windows import TokenSpan, Windows
from roots.shards import Shard
from roots.shards.layout import Layout

N_DOCUMENTS, LENGTH = 10, 10**9
SEQ_LEN, ROWS, SAMPLE = 64, 100, 10**8
SECONDS = 5.0


def ten_billion_tokens(folder: Path) -> Shard:
    """A sparse file of 20 GB that holds nothing but zeros, in ten documents."""
    with (folder / "train.bin").open("wb") as file:
        file.truncate(2 * N_DOCUMENTS * LENGTH)
    with (folder / "train.idx").open("wb") as file:
        file.write(Layout(np.dtype("<u2"), N_DOCUMENTS).header())
        file.write(np.full(N_DOCUMENTS, LENGTH, "<i4").tobytes())
        file.write((np.arange(N_DOCUMENTS, dtype="<i8") * LENGTH * 2).tobytes())
        file.write(np.arange(N_DOCUMENTS + 1, dtype="<i8").tobytes())
    return Shard(folder / "train")


def test_the_first_batch_at_sample_ten_to_the_eight_comes_within_five_seconds(
    tmp_path: Path,
) -> None:
    began = time.perf_counter()
    shard = ten_billion_tokens(tmp_path)
    windows = Windows(
        TokenSpan(shard, 0, shard.n_tokens), seq_len=SEQ_LEN, keep_last=False, filler=0
    )
    dataset = TrainSteps(
        windows,
        np.ones(1, dtype=np.int64),
        stream=Shuffled(len(windows), seed=1),
        order=InTurn(ROWS),
        share=share_of(ROWS, rank=0, ranks=1),
    )
    done = SAMPLE // ROWS
    loader = step_loader(dataset, StepsFrom(lambda: done, done + 10), pin=False)
    batch = next(iter(loader))
    assert time.perf_counter() - began < SECONDS
    assert shard.n_tokens == 10**10
    assert batch.step == done
    assert batch.input_ids.shape == (ROWS, SEQ_LEN)
    assert len(set(batch.samples.tolist())) == ROWS  # of one epoch, so none comes twice
    assert 0 <= int(batch.samples.min()) < int(batch.samples.max()) < len(windows)
