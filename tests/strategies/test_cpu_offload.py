"""Weights that lie in the host's memory, on a GPU; on CPUs, `test_fsdp.py` makes their gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_ranks
from test_fsdp import assert_close, train
from test_split_invariance import rows_of
from tiny import tiny_config

from roots.fit import compose
from roots.fit.compose import resumed


def offloaded(**others: Any) -> dict[str, Any]:
    arguments = {"cpu_offload": True, **others}
    return {"trainer.strategy": {"class_path": "roots.strategies.FSDP", "init_args": arguments}}


def steady(shards: Path, runs: Path) -> dict[str, Any]:
    config = tiny_config(shards, runs)
    config["model"]["init_args"]["schedule"] = {"class_path": "roots.optim.Constant"}
    return config


def on_a_gpu(shards: Path, runs: Path) -> tuple[list, list, list, set]:
    """Rows with all on the GPU, with weights on the host, gone on from shards; where they lie."""
    gpu = {"trainer.accelerator": "gpu", "trainer.devices": 1}
    _, usual = train(steady(shards, runs), {**gpu, "trainer.strategy": "fsdp"})
    _, rows = train(steady(shards, runs), {**gpu, **offloaded()})
    composed = compose(
        steady(shards, runs),
        {**gpu, **offloaded(sharded_checkpoints=True), "trainer.max_steps": 3},
    )
    run = composed.fit()
    states = composed.trainer.optimizers[0].state.values()
    kept = [*composed.model.parameters(), *(state["exp_avg"] for state in states)]
    on, _ = resumed(str(run.path), {}, ["--trainer.max_steps=6"])
    return usual, rows, rows_of(on.fit()), {tensor.device.type for tensor in kept}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_run_with_weights_on_the_host_is_the_run_without(shards: Path, tmp_path: Path) -> None:
    usual, rows, gone_on, kinds = run_ranks(on_a_gpu, shards, tmp_path, ranks=1)[0]
    assert_close(rows, usual, rtol=1e-5)
    assert_close(gone_on, usual, rtol=1e-5)
    assert kinds == {"cpu"}
