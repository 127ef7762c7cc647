"""The plan's operations and hours, against numbers that can be counted otherwise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from roots.fit import compose
from roots.networks import count_flops
from roots.plan import plan_run
from roots.plan.flops import hours, in_flop, work_of

NETWORK = "model.network.config."


def planned(config: dict[str, Any], overrides: dict[str, Any] | None = None) -> dict[str, str]:
    composed = compose(config, overrides)
    return dict(plan_run(composed.trainer, composed.model, composed.data).lines)


def test_the_operations_are_told_by_kind_and_in_all(config: dict[str, Any]) -> None:
    """By hand: 2 layers, 32 wide, 64 inside, 300 tokens, T=16; 128 tokens a step, 6 steps."""
    linear, scores = 2 * 6 * 4 * 32 * 32, 2 * 6 * 32 * 16
    inside, head = 2 * 6 * 3 * 32 * 64, 6 * 32 * 300
    total = linear + scores + inside + head
    assert planned(config)["FLOPs"] == (
        f"{total / 1e3:.3g} kFLOP per token (feed-forward {inside / total:.0%},"
        f" vocabulary projection {head / total:.0%},"
        f" attention's linear layers {linear / total:.0%},"
        f" attention's scores and values {scores / total:.0%}),"
        f" {total * 128 * 6 / 1e6:.3g} MFLOP in all"
    )
    assert "time" not in planned(config)


def test_a_network_that_is_not_understood_is_told(config: dict[str, Any]) -> None:
    config["model"]["init_args"]["network"]["init_args"]["config"] = {
        "model_type": "mamba",
        "hidden_size": 32,
        "num_hidden_layers": 2,
    }
    told = planned(config)["FLOPs"]
    assert told.startswith("not counted, so no share of the peak is reported: ")
    assert "MambaMixer" in told


def test_the_hours_are_operations_over_a_usual_share_of_the_peak() -> None:
    """Llama 2 7B on two trillion tokens, 6N: 8.1e22 operations; 1,024 devices: 198,386 s."""
    total = 6 * 6.7e9 * 2e12
    told = hours(total, 989.4e12, "NVIDIA H100 80GB HBM3", 1024)
    assert told == (
        "2 d 7 h if 40% MFU are reached (1024 x NVIDIA H100 80GB HBM3, 989.4 TFLOP/s dense)"
    )
    assert hours(3600 * 0.4e12, 1e12, "X", 1).startswith("1 h 0 min if 40% MFU are reached (X, ")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NVIDIA H200", "s if 40% MFU are reached (NVIDIA H200, 989.5 TFLOP/s dense)"),
        ("NVIDIA Nobody", "not known: the table of peak rates has no NVIDIA Nobody for this"),
        ("Tesla T4", "not known: the table of peak rates has no Tesla T4 for this precision"),
    ],
)
def test_a_gpu_is_told_its_hours_or_why_there_are_none(
    name: str, words: str, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    composed = compose(config)
    keys = config["model"]["init_args"]["network"]["init_args"]["config"]
    kind = {k: v for k, v in keys.items() if k != "model_type"}
    network = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **kind))

    class Trainer:
        class strategy:
            root_device = torch.device("cuda", 0)

        class precision_plugin:
            products = torch.bfloat16

        max_steps, world_size = 6, 1

    lines = dict(work_of(network, Trainer(), composed.model, composed.data))
    assert words in lines["time"]
    flops = count_flops(network, seq_len=16).per_trained_token
    assert lines["FLOPs"].endswith(f"{in_flop(flops * 128 * 6)} in all")


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (0, "0 FLOP"),
        (999, "999 FLOP"),
        (1e3, "1 kFLOP"),
        (4.123e9, "4.12 GFLOP"),
        (8.04e22, "80.4 ZFLOP"),
        (2e25, "20 YFLOP"),
    ],
)
def test_operations_are_worded(n: float, words: str) -> None:
    assert in_flop(n) == words
