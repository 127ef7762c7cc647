"""Rows that begin short: which tokens each has by definition, each token once, and its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from test_batches_by_definition import EOS, IGNORE, TOKEN_BYTES, documents, windows_of
from test_mixture import attached, mixed
from tiny import tiny_config

from roots.batch import TokenBatch
from roots.callbacks.utilization import OF_MATMUL_PEAK
from roots.data import TokenCorpus
from roots.data.growing import Growing
from roots.data.lengthening import Lengthening
from roots.data.steps import Share, TrainSteps
from roots.data.streams import InTurn, Shuffled
from roots.errors import ConfigError
from roots.fit import compose
from roots.networks import count_flops
from roots.plan import plan_run
from roots.plan.flops import in_flop
from roots.precision import measured_peak
from roots.runs import read_metrics

LENGTHENS = {"first_seq_len": 4, "lengthening_steps": 4}  # 4, 4, 8, 8, then 16


# -- when -------------------------------------------------------------------------------------


@given(
    first=st.integers(2, 9),
    doublings=st.integers(0, 6),
    longer=st.integers(1, 40),
    cut=st.tuples(st.integers(0, 60), st.integers(0, 60)),
)
@settings(max_examples=100)
def test_rows_double_each_length_for_as_many_steps(
    first: int, doublings: int, longer: int, cut: tuple[int, int]
) -> None:
    steps, full = doublings + longer, first * 2**doublings
    rows = Lengthening(first=first, full=full, steps=steps)
    lengths = [rows.length(step) for step in range(steps + 60)]
    assert lengths[0] == first
    assert set(lengths[steps:]) == {full}
    assert {b / a for a, b in pairwise(lengths)} <= {1, 2}
    counts = [lengths[:steps].count(first * 2**n) for n in range(doublings)]
    assert sum(counts) == (steps if doublings else 0)
    assert not counts or max(counts) - min(counts) <= 1
    begin, end = min(cut), max(cut)
    stretches = list(rows.stretches(begin, end))
    told = [each.length for each in stretches for _ in range(each.first, each.stop)]
    assert told == lengths[begin:end]
    assert len({each.length for each in stretches}) == len(stretches)


def test_a_run_that_ends_before_says_so() -> None:
    rows = Lengthening(first=64, full=256, steps=300)
    assert rows.in_words(1000) == "64 tokens until step 150, 128 tokens until step 300, then 256"
    early = "64 tokens until step 150, then 128; the run ends before they have seq_len=256"
    assert rows.in_words(200) == early
    assert rows.in_words(150) == "64; the run ends before they have seq_len=256"
    assert Lengthening(first=256, full=256, steps=9).in_words(20) == "256"


# -- which tokens -----------------------------------------------------------------------------


def short_rows_by_definition(
    texts: list[list[int]], row: int, seq_len: int, length: int
) -> list[dict[str, list[int]]]:
    """The short rows of a sequence: token by token, from the documents as lists."""
    stream = [(token, number) for number, text in enumerate(texts) for token in text]
    rows = []
    for start in range(row * seq_len, (row + 1) * seq_len, length):
        here, behind = stream[start : start + length], stream[start + 1 : start + length + 1]
        pairs = list(zip(here, behind, strict=True))
        labels = [after if own == of else IGNORE for (_, own), (after, of) in pairs]
        changes = [int(a != b) for (_, a), (_, b) in pairwise(here)]
        rows.append(
            {
                "input_ids": [token for token, _ in here],
                "labels": labels,
                "changes": changes,
                "n_bytes": [sum(int(TOKEN_BYTES[label]) for label in labels if label != IGNORE)],
            }
        )
    return rows


def assert_is(batch: TokenBatch, rows: Sequence[int], expected: list[dict[str, list[int]]]) -> None:
    assert batch.samples.tolist() == list(rows)
    assert batch.input_ids.tolist() == [row["input_ids"] for row in expected]
    assert batch.labels.tolist() == [row["labels"] for row in expected]
    assert batch.n_bytes.tolist() == [row["n_bytes"][0] for row in expected]
    assert batch.document_ids is not None
    changes = (batch.document_ids.diff(dim=1) != 0).long()
    assert changes.tolist() == [row["changes"] for row in expected]
    assert batch.input_ids.is_contiguous()


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=3, max_size=20),
    first=st.integers(2, 5),
    doublings=st.integers(0, 3),
    ranks=st.integers(1, 3),
    grows=st.booleans(),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_a_cut_step_is_its_definition_wherever_it_is(
    tmp_path_factory: pytest.TempPathFactory,
    lengths: list[int],
    first: int,
    doublings: int,
    ranks: int,
    grows: bool,
    seed: int,
    data: st.DataObject,
) -> None:
    seq_len = first * 2**doublings
    texts = documents([*lengths, seq_len + 1], seed)
    windows = windows_of(texts, tmp_path_factory.mktemp("s"), seq_len, apart=True)
    full = 4 * ranks
    order = Growing(first=ranks, full=full, steps=40) if grows else InTurn(full)
    rank = data.draw(st.integers(0, ranks - 1))
    rows = Lengthening(first=first, full=seq_len, steps=30)
    stream, share = Shuffled(len(windows), seed), Share(rank, 4, ranks)
    given_ = {"stream": stream, "order": order, "share": share}
    steps = TrainSteps(windows, TOKEN_BYTES, **given_, lengthening=rows)
    for step in (0, 9, 10, 15, 29, 30, data.draw(st.integers(0, 10**6))):
        length = rows.length(step)
        samples = share.of(stream.draw(order.positions(step)).samples).tolist()
        expected = [
            row
            for sample in samples
            for row in short_rows_by_definition(texts, sample, seq_len, length)
        ]
        assert_is(steps[step], np.repeat(samples, seq_len // length).tolist(), expected)
        micro = list(steps[step].split(3))
        assert [len(part) for part in micro] == [
            seq_len // length * len(samples[at : at + 3]) for at in range(0, len(samples), 3)
        ]
        assert torch.equal(torch.cat([p.input_ids for p in micro]), steps[step].input_ids)
    assert EOS == 0


def corpus_of(shards: Any, **changes: Any) -> TokenCorpus:
    made = {"seq_len": 16, "sequences_per_step": 8, **LENGTHENS, **changes}
    return TokenCorpus(shards=shards, **made)


@pytest.mark.parametrize("packing", ["chop", "best_fit"])
@pytest.mark.parametrize("source", ["one", "mixture"])
@pytest.mark.parametrize("grows", [False, True])
def test_a_step_has_the_tokens_and_labels_of_whole_rows_in_their_order(
    shards: Path, plays: Path, packing: str, source: str, grows: bool
) -> None:
    made = str(shards) if source == "one" else mixed(shards, plays)
    others: dict[str, Any] = {"packing": packing, "attend_across_documents": False}
    others |= {"first_sequences_per_step": 2, "growing_steps": 5} if grows else {}
    whole = corpus_of(made, first_seq_len=0, lengthening_steps=0, **others)
    both = zip(
        attached(corpus_of(made, **others), steps=9).train_dataloader(),
        attached(whole, steps=9).train_dataloader(),
        strict=True,
    )
    for cut, full in both:
        length = [4, 4, 8, 8][cut.step] if cut.step < 4 else 16
        assert cut.input_ids.shape == (len(full) * 16 // length, length)
        for name in ("input_ids", "labels", "document_ids"):
            assert torch.equal(getattr(cut, name).reshape(-1, 16), getattr(full, name)), name
        assert cut.n_bytes.reshape(len(full), -1).sum(1).tolist() == full.n_bytes.tolist()
        assert cut.samples.reshape(len(full), -1)[:, 0].tolist() == full.samples.tolist()
        assert cut.n_labels == full.n_labels


def test_two_ranks_and_a_resumed_run_read_the_same(shards: Path) -> None:
    whole = list(attached(corpus_of(str(shards)), steps=8).train_dataloader())
    pair = [attached(corpus_of(str(shards)), r, 2, steps=8).train_dataloader() for r in (0, 1)]
    for batch, parts in zip(whole, zip(*pair, strict=True), strict=True):
        assert torch.equal(torch.cat([part.input_ids for part in parts]), batch.input_ids)
    for batch in attached(corpus_of(str(shards)), first=3, steps=8).train_dataloader():
        assert torch.equal(batch.input_ids, whole[batch.step].input_ids)


def test_a_validation_reads_whole_rows(shards: Path) -> None:
    corpus = attached(corpus_of(str(shards)))
    assert {len(batch.input_ids[0]) for batch in corpus.val_dataloader()} == {16}
    assert {batch.cuts for batch in corpus.val_dataloader()} == {1}


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message", "cures"),
    [
        (
            {"seq_len": 256, "first_seq_len": 48, "lengthening_steps": 9},
            r"=48 .* seq_len=256 by doublings.*\.first_seq_len to 64, or data\.seq_len to 192\.",
            [{"first_seq_len": 64}, {"seq_len": 192}],
        ),
        (
            {"seq_len": 255, "first_seq_len": 64, "lengthening_steps": 9},
            r"=64 does not become seq_len=255 .* Set data\.seq_len to 256\.",
            [{"seq_len": 256}],
        ),
        (
            {"first_seq_len": 1},
            r"=1 does not become seq_len=16 .* Set data\.first_seq_len to 2\.",
            [{"first_seq_len": 2}],
        ),
        (
            {"first_seq_len": 32},
            r"=32 .* Set data\.first_seq_len to 8, or data\.seq_len to 64\.",
            [{"first_seq_len": 8}, {"seq_len": 64}],
        ),
        (
            {"first_seq_len": 2, "lengthening_steps": 2},
            r"lengthening_steps=2 is less than the 3 doublings from 2 to 16 tokens.* to 3 or more",
            [{"lengthening_steps": 3}, {"first_seq_len": 4}],
        ),
        ({"lengthening_steps": 0}, r"first_seq_len=4 and lengthening_steps=0 go", [LENGTHENS]),
        ({"first_seq_len": -1}, r"first_seq_len=-1 is too small", [LENGTHENS]),
    ],
)
def test_a_lengthening_that_cannot_be_is_refused(
    changes: dict, message: str, cures: list[dict]
) -> None:
    with pytest.raises(ConfigError, match=message):
        corpus_of("nowhere", **changes)
    for cure in cures:
        corpus_of("nowhere", **changes | cure)


# -- what is told -----------------------------------------------------------------------------


def test_operations_are_those_of_each_length(shards: Path, tmp_path: Path) -> None:
    """Steps of 2, 4, 6, 8, 8, 8 sequences of 16 tokens, in rows of 4, 4, 8, 8, 16, 16."""
    config = tiny_config(shards, tmp_path, log_every_steps=3)
    config["data"]["init_args"] |= LENGTHENS
    config["data"]["init_args"] |= {"first_sequences_per_step": 2, "growing_steps": 3}
    composed = compose(config)
    told = dict(plan_run(composed.trainer, composed.model, composed.data).lines)
    assert told["rows"] == "4 tokens until step 2, 8 tokens until step 4, then 16"
    run = composed.fit()
    network = composed.model.trainable.network
    each = {n: count_flops(network, seq_len=n).per_trained_token for n in (4, 8, 16)}
    layers, wide = 2, 32
    assert each[16] - each[4] == 3 * layers * 2 * (2 * wide) * (16 - 4) / 2  # only scores, by hand
    rows, lengths = np.array([2, 4, 6, 8, 8, 8]), (4, 4, 8, 8, 16, 16)
    flops = rows * 16 * [each[length] for length in lengths]
    assert told["FLOPs"].endswith(f"{in_flop(flops.sum())} in all")
    assert f", {in_flop(each[4])} in rows of 4, {in_flop(each[8])} in rows of 8," in told["FLOPs"]
    first, middle, last = [row for row in read_metrics(run.metrics_file) if row["train/loss"]]
    for row, taken in ((first, slice(0, 1)), (middle, slice(1, 3)), (last, slice(3, 6))):
        per_token = flops[taken].sum() / (rows[taken].sum() * 16)
        share = float(row["train/tokens_per_second"]) * per_token / measured_peak(torch.float32)
        assert float(row[OF_MATMUL_PEAK]) == pytest.approx(share, rel=1e-9)
    assert [float(row["train/seq_len"]) for row in (first, middle, last)] == [4, 8, 16]
    assert float(last["train/tokens_seen"]) == rows.sum() * 16
    assert run.last().tokens == rows.sum() * 16


def test_a_run_says_when_its_rows_get_longer(
    config: dict[str, Any], capsys: pytest.CaptureFixture
) -> None:
    config["data"]["init_args"] |= LENGTHENS
    config["trainer"]["progress"] = True
    composed = compose(config)
    run = composed.fit()
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("rows of")] == [
        "rows of 4 tokens from step 0 on: each sequence is cut into 4",
        "rows of 8 tokens from step 2 on: each sequence is cut into 2",
        "rows of 16 tokens from step 4 on: sequences are whole",
    ]
    assert len(composed.trainer.throughput.rates) == 2  # the median is of steps of whole rows
    made = yaml.safe_load(run.config_file.read_text())["data"]["init_args"]
    assert {name: made[name] for name in LENGTHENS} == LENGTHENS
