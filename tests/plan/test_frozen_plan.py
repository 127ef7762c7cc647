"""A plan of frozen layers counts what the run will train, keep and compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import LLAMA, tiny_config
from transformers import AutoConfig, AutoModelForCausalLM

from roots.fit import compose
from roots.networks import count_flops
from roots.plan import plan_run
from roots.plan.depth import DEPTHS, alike
from roots.plan.flops import in_flop
from roots.plan.footprint import Planner, Way
from roots.plan.memory import planner_of
from roots.plan.target import target_named

pytestmark = pytest.mark.heavy

SIZES = {**LLAMA, "hidden_size": 64, "num_hidden_layers": 8, "tie_word_embeddings": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of eight layers with an own head, as transformers keeps it."""
    keys = {key: value for key, value in SIZES.items() if key != "model_type"}
    config = AutoConfig.for_model("llama", vocab_size=300, **keys)
    where = tmp_path_factory.mktemp("deep")
    AutoModelForCausalLM.from_config(config).save_pretrained(where)
    return where


def frozen(shards: Path, folder: Path, runs: Path, n_layers: int) -> Any:
    config = tiny_config(shards, runs)
    arguments = {"path": str(folder), "frozen_layers": n_layers}
    network = {"class_path": "roots.networks.Pretrained", "init_args": arguments}
    config["model"]["init_args"]["network"] = network
    return compose(config)


def planner_for(composed: Any) -> Planner:
    composed.trainer.settle(composed.data)
    composed.model.learn_of(composed.data)
    target = target_named("NVIDIA H100 80GB HBM3", 4, 1)
    return planner_of(composed.trainer, composed.model, composed.data, target)


@pytest.mark.parametrize("n_layers", [0, 5, -1])
def test_parameters_work_and_memory_are_those_of_the_network_that_is_built(
    shards: Path, folder: Path, tmp_path: Path, n_layers: int
) -> None:
    composed = frozen(shards, folder, tmp_path, n_layers)
    told = dict(plan_run(composed.trainer, composed.model, composed.data).lines)
    model = composed.model
    built = model.builder.build(model.vocabulary, seed=1, device=torch.device("cpu"))
    trained = sum(p.numel() for p in built.parameters() if p.requires_grad)
    assert (f"; {trained:,} (" in told["network"]) == (n_layers != 0)
    per_token = count_flops(built, seq_len=16).per_trained_token
    assert told["FLOPs"].startswith(f"{in_flop(per_token)} per token")
    planner = planner_for(composed)
    assert planner.held(1).gradients == 4 * trained
    assert planner.held(1).state == 8 * trained  # of AdamW
    assert planner.footprint(Way("ddp", 4), 1).sent == round(2 * 4 * trained * 3 / 4)
    waiting = planner.footprint(Way("fsdp", 4, 4), 1)  # whole, until the last micro-batch
    assert waiting.parts["gradients"] == planner.held(4).gradients + 4 * trained


def test_frozen_blocks_are_not_like_trained_ones(
    shards: Path, folder: Path, tmp_path: Path
) -> None:
    """Of the first few, all frozen, nothing is kept for a backward pass."""
    whole, below, kept = (planner_for(frozen(shards, folder, tmp_path, n)) for n in (0, 6, -1))
    assert alike(whole.empty()) == alike(kept.empty()) == 8 > max(DEPTHS)
    assert alike(below.empty()) == 0
    single = Way("single_device", 1)
    most, some, least = (
        each.footprint(single, 4).parts["activations"] for each in (whole, below, kept)
    )
    assert most > some > least
