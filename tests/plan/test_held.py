"""Weights, gradients and optimizer state, counted and real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_activations import NETWORKS, composed_of, empty, plugin
from torch import Tensor

from roots.networks import blocks_of, separable
from roots.optim import MasterWeights
from roots.plan.held import groups_of, held_by

OPTIMIZERS = ["AdamW", "Muon", "AdamW8bit", "TorchOptimizer"]
ADAFACTOR = {"name": "Adafactor"}


def real(composed: Any, precision: str) -> tuple[Any, Any]:
    """The network after one step of its optimizer."""
    model = composed.model
    trainable = model.build(seed=1, device=torch.device("cpu"))
    plugin(precision).convert_module(trainable)
    model.trainable = trainable
    optimizer = model.configure_optimizers()
    for parameter in trainable.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return trainable, optimizer


def state_of(tree: Any, name: str = "") -> list[Tensor]:
    """What an optimizer keeps; counters, and the tables of 8-bit numbers that all share, aside."""
    if isinstance(tree, dict):
        return [t for key, value in tree.items() for t in state_of(value, str(key))]
    kept = isinstance(tree, Tensor) and name != "step" and not name.startswith("qmap")
    return [tree] if kept else []


@pytest.mark.parametrize("precision", ["32", "bf16-mixed", "bf16-true"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("family", NETWORKS)
def test_what_is_held_is_exactly_what_a_real_run_holds(
    family: str,
    optimizer: str,
    precision: str,
    shards: Path,
    masked_shards: Path,
    tmp_path: Path,
) -> None:
    if optimizer == "AdamW8bit" and precision == "bf16-true":
        pytest.skip("its 8-bit state is tested with the other precisions")
    arguments = {"init_args": ADAFACTOR} if optimizer == "TorchOptimizer" else {}
    overrides = {"model.optimizer": {"class_path": f"roots.optim.{optimizer}", **arguments}}
    composed = composed_of(family, shards, masked_shards, tmp_path, **overrides)
    held = held_by(empty(composed.model), composed.model.optimizer_builder, plugin(precision))
    trainable, built = real(composed, precision)
    kept = [*trainable.parameters(), *trainable.buffers()]
    assert held.parameters == sum(t.nbytes for t in kept)
    assert held.gradients == sum(p.grad.nbytes for p in trainable.parameters())
    masters = [own for _, own in built._pairs] if isinstance(built, MasterWeights) else []
    assert held.masters == sum(own.nbytes for own in masters)
    real_state = sum(t.nbytes for t in state_of(built.state_dict()["state"])) - held.masters
    assert held.state == real_state


def test_a_cut_network_is_cut_as_torch_cuts_it(
    shards: Path, masked_shards: Path, tmp_path: Path
) -> None:
    """Along the first axis, each part filled up to the same size."""
    composed = composed_of("gpt2", shards, masked_shards, tmp_path)
    builder, network = composed.model.optimizer_builder, empty(composed.model)
    rows = [(p.shape[0], p[0].numel() if p.ndim > 1 else 1) for p in network.parameters()]
    for ranks in (2, 7):
        part = held_by(empty(composed.model), builder, plugin("32"), shards=ranks)
        n = sum(-(-first // ranks) * rest for first, rest in rows)
        buffers = sum(b.nbytes for b in network.buffers())
        assert (part.parameters - buffers, part.gradients, part.state) == (4 * n, 4 * n, 8 * n)


def test_groups_hold_every_value_once(shards: Path, masked_shards: Path, tmp_path: Path) -> None:
    for family in NETWORKS:
        network = empty(composed_of(family, shards, masked_shards, tmp_path).model)
        outside, inside = groups_of(network, separable(network))
        assert outside + sum(inside) == sum(p.numel() for p in network.parameters())
        assert len(inside) == len(blocks_of(network))
