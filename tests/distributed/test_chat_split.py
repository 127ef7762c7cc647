"""A step on conversations is the same on one and two ranks."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_ranks
from tiny_chat import chat_config, conversations, write_chat_network

from roots.fit import compose

pytestmark = pytest.mark.heavy

NAMES = ("train/loss", "optim/grad_norm", "val/loss", "val/bits_per_byte")


def train(config: dict[str, Any], size: int, ranks: int) -> list[dict[str, str]]:
    composed = compose(config, {"model.micro_batch_size": size, "trainer.devices": ranks})
    run = composed.fit()
    if not composed.trainer.is_global_zero:
        return []
    with run.metrics_file.open() as file:
        return list(csv.DictReader(file))


def series(rows: list[dict[str, str]], name: str) -> torch.Tensor:
    return torch.tensor([float(row[name]) for row in rows if row[name]], dtype=torch.float64)


@pytest.mark.parametrize(
    "trained",
    [
        "all weights",
        "adapters",
        pytest.param("adapters on four bits", marks=pytest.mark.slow),
    ],
)
def test_one_and_two_ranks_make_the_same_steps(tmp_path: Path, trained: str) -> None:
    network = write_chat_network(tmp_path / "network")
    config = chat_config(network, tmp_path, conversations(50, 3))  # no multiple of anything
    arguments = config["model"]["init_args"]["network"]["init_args"]
    if trained != "all weights":
        arguments["adapter"] = {"class_path": "roots.networks.LoRA", "init_args": {"rank": 4}}
    if trained == "adapters on four bits":
        exact = {"compute_dtype": "float32"}
        arguments["quantise"] = {"class_path": "roots.networks.NF4", "init_args": exact}
    alone = train(config, 8, 1)
    together, _ = run_ranks(train, config, 2, 2)
    for name in NAMES:
        torch.testing.assert_close(
            series(together, name), series(alone, name), rtol=1e-5, atol=1e-7, msg=name
        )
