"""The network before training, cut over two ranks, is that of one device."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from preferred import preference_config, preferences
from ranks import run_ranks
from taught import rows_of
from tiny_chat import write_chat_network
from transformers import AutoModelForCausalLM

from roots.fit import compose
from roots.fit.compose import from_run
from roots.runs import Run

pytestmark = pytest.mark.heavy


def trained(config: dict[str, Any], precision: str) -> str:
    """Trains under fsdp on the ranks that come here; gives the run's directory."""
    settings = {"trainer.strategy": "fsdp", "trainer.precision": precision}
    return str(compose(config, settings).fit().path)


def test_under_fsdp_rewards_begin_at_0_and_one_device_measures_the_same(tmp_path: Path) -> None:
    network = write_chat_network(tmp_path / "network")
    config = preference_config(network, tmp_path, preferences(49, 0))
    weights = AutoModelForCausalLM.from_pretrained(network).state_dict()
    one = {f"trainable.network.{name}" for name in weights}
    for precision in ("32", "bf16-mixed"):
        run = Run(run_ranks(trained, config, precision)[0])
        first, *_, last = rows_of(run)
        assert float(first["train/loss"]) == pytest.approx(math.log(2), rel=1e-7)
        assert float(first["train/margin"]) == 0
        assert float(last["val/margin"]) > 0
        state = torch.load(run.last().trainer_file, weights_only=True)
        assert state["state_dict"].keys() == one
    composed = from_run(str(run.path), "last", ["--trainer.strategy=auto"])
    composed.evaluate("validate")
    for name in ("loss", "margin", "chosen_reward", "rejected_reward", "chosen_nats"):
        found = composed.trainer.latest[f"val/{name}"]
        assert found == pytest.approx(float(last[f"val/{name}"]), rel=0.05, abs=0.01), name
