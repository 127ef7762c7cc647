"""Steps that grow: every row once, the same on any number of ranks, counted where steps are."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_mixture import attached, mixed
from tiny import tiny_config

from roots.data import MaskedCorpus, Phase, TokenCorpus
from roots.data.growing import Growing
from roots.errors import CheckpointError, ConfigError
from roots.fit import compose
from roots.fit.compose import resume, resumed
from roots.objectives import Masking
from roots.plan import plan_run
from roots.runs import read_metrics

GROWS = {"first_sequences_per_step": 2, "growing_steps": 3}


@given(first=st.integers(1, 9), strides=st.integers(0, 12), longer=st.integers(0, 40))
@settings(max_examples=100)
def test_steps_follow_on_each_other_and_grow_in_equal_strides(
    first: int, strides: int, longer: int
) -> None:
    steps = strides + longer
    order = Growing(first=first, full=first * (strides + 1), steps=steps)
    sizes = [order.size(step) for step in range(steps + 5)]
    assert sizes[0] == first or strides == 0
    assert set(sizes[steps:]) == {first * (strides + 1)}
    assert steps == 0 or strides == 0 or sizes[steps - 1] == first * strides
    assert {b - a for a, b in pairwise(sizes)} <= {0, first}
    places = np.concatenate([order.positions(step) for step in range(steps + 5)])
    assert places.tolist() == list(range(sum(sizes)))
    assert [order.before(step) for step in range(steps + 5)] == [0, *np.cumsum(sizes)[:-1]]
    lengths = np.bincount(np.array(sizes[:steps], dtype=int) // first)[1:]
    assert strides == 0 or lengths.max() - lengths.min() <= 1


def corpus_of(shards: Any, **changes: Any) -> TokenCorpus:
    return TokenCorpus(
        shards=shards, **{"seq_len": 16, "sequences_per_step": 8, **GROWS, **changes}
    )


@pytest.mark.parametrize("source", ["one", "mixture"])
def test_two_ranks_and_a_resumed_run_read_the_same(shards: Path, plays: Path, source: str) -> None:
    made = str(shards) if source == "one" else mixed(shards, plays)
    whole = list(attached(corpus_of(made), steps=12).train_dataloader())
    assert [len(batch) for batch in whole[:6]] == [2, 4, 6, 8, 8, 8]
    pair = [attached(corpus_of(made), r, 2, steps=12).train_dataloader() for r in (0, 1)]
    for batch, parts in zip(whole, zip(*pair, strict=True), strict=True):
        assert torch.equal(torch.cat([part.input_ids for part in parts]), batch.input_ids)
    for batch in attached(corpus_of(made), first=3, steps=12).train_dataloader():
        assert torch.equal(batch.input_ids, whole[batch.step].input_ids)


def test_masked_steps_grow_alike(masked_shards: Path) -> None:
    made = {"shards": str(masked_shards), "masking": Masking(), "seq_len": 16}
    corpus = attached(MaskedCorpus(**made, sequences_per_step=8, **GROWS), steps=6)
    assert [len(batch) for batch in corpus.train_dataloader()] == [2, 4, 6, 8, 8, 8]
    with pytest.raises(ConfigError, match=r"growing_steps=3 is for rows of one length"):
        MaskedCorpus(**made, rows="documents", sequences_per_step=8, **GROWS)


def test_phases_of_a_mixture_change_with_the_steps_that_grow(shards: Path, plays: Path) -> None:
    phases = [Phase(weights={"news": 1}, until_step=3), Phase(weights={"plays": 1})]
    mixing = attached(corpus_of(mixed(shards, plays, phases=phases))).mixing
    assert mixing.drawn(3) == {"news": 12, "plays": 0}
    assert mixing.drawn(5) == {"news": 12, "plays": 16}


def test_tokens_and_steps_are_counted(shards: Path, tmp_path: Path) -> None:
    config = tiny_config(shards, tmp_path)
    config["data"]["init_args"] |= GROWS
    composed = compose(config)
    told = dict(plan_run(composed.trainer, composed.model, composed.data).lines)
    assert told["step"].endswith(", grown from 2 sequences over the first 3 steps")
    assert told["run"].startswith(f"6 steps = {36 * 16}")
    run = composed.fit()
    rows = read_metrics(run.metrics_file)
    sums = np.cumsum([2, 4, 6, 8, 8, 8]) * 16
    assert [float(row["train/tokens_seen"]) for row in rows] == sums.tolist()
    assert [float(row["train/sequences_per_step"]) for row in rows] == [2, 4, 6, 8, 8, 8]
    assert run.last().tokens == sums[-1]
    with pytest.raises(CheckpointError, match=r"cannot change data\.init_args\.growing_steps: 3"):
        resumed(str(run.path), {}, ["--data.growing_steps=5"])
    n = composed.data.n_train
    steps = composed.data.steps_for(n)
    assert composed.data.rows_until(steps - 1) < n <= composed.data.rows_until(steps)


@pytest.mark.parametrize(
    ("changes", "message", "cure"),
    [
        (
            {"first_sequences_per_step": 3},
            r"first_sequences_per_step=3 does not divide .*=8,.* to 2\.",
            {"first_sequences_per_step": 2},
        ),
        (
            {"growing_steps": 2},
            r"growing_steps=2 is less than the 3 strides from 2 to 8 .* to 3 or more",
            {"growing_steps": 3},
        ),
        ({"growing_steps": 0}, r"=2 and growing_steps=0 go together", GROWS),
    ],
)
def test_a_growth_that_cannot_be_is_refused(changes: dict, message: str, cure: dict) -> None:
    with pytest.raises(ConfigError, match=message):
        corpus_of("nowhere", **changes)
    corpus_of("nowhere", **cure)


def test_ranks_must_divide_the_steps_that_are_to_come(shards: Path) -> None:
    def begins(first: int, ranks: int, stage: str = "fit", **changes: int) -> None:
        data = attached(corpus_of(str(shards), **changes), ranks=ranks)
        data.trainer.resumed_from = first
        data.setup(stage)

    with pytest.raises(ConfigError, match=r"first_sequences_per_step=2 cannot .* 4 ranks.* to 4\."):
        begins(0, 4)
    begins(0, 4, first_sequences_per_step=4)
    begins(0, 4, "validate")
    with pytest.raises(
        ConfigError, match=r"Until step 3 .*per_step=2 that 4 .*from step 1\. Go on"
    ):
        begins(1, 4)  # which has 4, and the step behind it 6
    begins(1, 2)
    begins(3, 4)


@given(first=st.integers(1, 6), strides=st.integers(0, 8), longer=st.integers(0, 20))
@settings(max_examples=50)
def test_the_step_from_which_ranks_share_is_the_first_with_none_uneven_behind_it(
    first: int, strides: int, longer: int
) -> None:
    full, steps = first * (strides + 1), strides + longer
    order = Growing(first=first, full=full, steps=steps)
    for ranks in (n for n in range(1, full + 1) if full % n == 0):
        uneven = [step for step in range(steps + 3) if order.size(step) % ranks]
        assert order.shared_from(ranks) == (uneven[-1] + 1 if uneven else 0)


def test_the_plan_asks_too_and_a_run_that_has_grown_goes_on_with_more_ranks(
    shards: Path, tmp_path: Path
) -> None:
    config = tiny_config(shards, tmp_path, max_steps=4)
    config["data"]["init_args"] |= {"first_sequences_per_step": 1, "growing_steps": 7}
    two = {"trainer.devices": 2}

    def planned(composed: Any) -> None:
        plan_run(composed.trainer, composed.model, composed.data)

    with pytest.raises(ConfigError, match=r"first_sequences_per_step=1 cannot .* by 2 ranks"):
        planned(compose(config, two))
    run = compose(config).fit()
    with pytest.raises(ConfigError, match=r"Until step 7 .* from step 4"):
        planned(resume(run.path, {**two, "trainer.max_steps": 9}))
    resume(run.path, {"trainer.max_steps": 7}).fit()
    planned(resume(run.path, {**two, "trainer.max_steps": 9}))
