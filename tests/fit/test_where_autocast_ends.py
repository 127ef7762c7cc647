"""Autocast is around the forward pass alone: the rest of a step has formats of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from tiny import tiny_config

from roots.fit import compose
from roots.precision import precision_named


class Watch(L.Callback):
    """Writes down whether autocast is on while a network reads, learns and is stepped."""

    def __init__(self) -> None:
        self.on: dict[str, set[bool]] = {"forward": set(), "backward": set(), "step": set()}

    def on_train_start(self, trainer: Any, module: Any) -> None:
        network = module.trainable.network
        network.model.layers[0].register_forward_hook(lambda *_: self.look("forward"))
        network.model.layers[0].mlp.up_proj.weight.register_hook(lambda _: self.look("backward"))
        trainer.optimizers[0].register_step_pre_hook(lambda *_: self.look("step"))

    def look(self, where: str) -> None:
        self.on[where].add(torch.is_autocast_enabled("cpu"))


@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed"])
def test_only_the_forward_pass_is_in_autocast(shards: Path, tmp_path: Path, precision: str) -> None:
    config = tiny_config(shards, tmp_path, max_steps=3, val_every_steps=3, precision=precision)
    optimizer = {"name": "Adafactor", "learning_rate": 1e-2}
    config["model"]["init_args"].update(
        optimizer={"class_path": "roots.optim.TorchOptimizer", "init_args": optimizer},
        schedule={"class_path": "roots.optim.Constant"},
    )
    composed, watch = compose(config), Watch()
    composed.trainer.callbacks.append(watch)
    composed.fit()  # whose weights were not finite after three steps in float16
    assert watch.on == {"forward": {True}, "backward": {False}, "step": {False}}


def test_lightning_puts_no_autocast_around_a_whole_step() -> None:
    for name in ("16-mixed", "bf16-mixed"):
        plugin = precision_named(name, torch.device("cpu"))
        with plugin.train_step_context():
            assert not torch.is_autocast_enabled("cpu")
        with plugin.val_step_context():
            assert torch.is_autocast_enabled("cpu")
