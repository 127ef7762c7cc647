"""A loss with layers of its own begins and trains on two ranks as on one device, cut or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from own_modules import HeadInside
from ranks import run_ranks
from tiny import tiny_config

import roots
from roots.errors import ConfigError
from roots.fit import compose
from roots.runs import load_metrics, open_run
from roots.strategies.shards import gathered

pytestmark = pytest.mark.heavy

STRATEGIES = ("ddp", "fsdp", "shards")
SHARDED = {"class_path": "roots.strategies.FSDP", "init_args": {"sharded_checkpoints": True}}
OWN = ("trainable.proj.weight", "trainable.proj.bias", "trainable.target")


class Looks(L.Callback):
    """Gathers the loss's own weights before the first step."""

    def __init__(self) -> None:
        self.first: dict[str, Any] = {}

    def on_train_start(self, trainer: Any, module: Any) -> None:
        state = module.state_dict(keep_vars=True)
        whole = gathered({name: state[name] for name in OWN}, keep=True)
        self.first = {name: tensor.detach().clone().numpy() for name, tensor in whole.items()}


def train(config: dict[str, Any], strategy: Any) -> tuple[str, dict[str, Any]]:
    looks = Looks()
    composed = compose(config, {"trainer.strategy": strategy, "trainer.max_steps": 4})
    composed.trainer.callbacks.append(looks)
    return str(composed.fit().path), looks.first


def of_class(shards: Path, runs: Path, name: str) -> dict[str, Any]:
    config = tiny_config(shards, runs, val_every_steps=4)
    config["model"]["class_path"] = f"own_modules.{name}"
    return config


def on_ranks(shards: Path, runs: Path) -> dict[str, Any]:
    config = of_class(shards, runs, "HeadInside")
    given: dict[str, Any] = {
        name: train(config, SHARDED if name == "shards" else name) for name in STRATEGIES
    }
    with pytest.raises(ConfigError, match=r"proj\.weight, which .* is a copy .* Make the layer"):
        compose(of_class(shards, runs, "HeadCopied"), {"trainer.strategy": "fsdp"}).fit()
    return given


@pytest.fixture(scope="module")
def given(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return run_ranks(on_ranks, shards, tmp_path_factory.mktemp("ranks"))


@pytest.fixture(scope="module")
def alone(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return train(of_class(shards, tmp_path_factory.mktemp("alone"), "HeadInside"), "auto")


def losses(path: str) -> list[float]:
    rows = load_metrics(open_run(path).metrics_file).rows.values()
    return [row["train/loss"] for row in rows]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_it_begins_with_the_weights_of_one_device(
    given: list[dict[str, Any]], alone: Any, strategy: str
) -> None:
    for rank in given:
        _, first = rank[strategy]
        assert all((first[name] == alone[1][name]).all() for name in OWN)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_its_losses_are_those_of_one_device(
    given: list[dict[str, Any]], alone: Any, strategy: str
) -> None:
    path, _ = given[0][strategy]
    assert losses(path) == pytest.approx(losses(alone[0]), rel=1e-4)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_its_run_is_loaded_with_what_was_trained(
    given: list[dict[str, Any]], alone: Any, strategy: str
) -> None:
    mine, its = (roots.load(path, "last") for path in (given[0][strategy][0], alone[0]))
    assert isinstance(mine, HeadInside)
    state, expected = mine.state_dict(), its.state_dict()
    for name in OWN:
        torch.testing.assert_close(state[name], expected[name], rtol=1e-3, atol=1e-5)
    assert not torch.equal(state[OWN[0]], torch.from_numpy(alone[1][OWN[0]]))
