"""Every optimizer and the schedules through real runs: learning, resuming, ranks, precision."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from ranks import run_ranks
from tiny import LLAMA, tiny_config

from roots.errors import CheckpointError, TrainingError
from roots.fit import compose
from roots.fit.compose import resumed
from roots.optim import MasterWeights
from roots.plan import plan_run
from roots.runs import Run

pytestmark = pytest.mark.heavy

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "AdamW": {"learning_rate": 3e-3},
    "Muon": {"learning_rate": 1e-2, "adamw_learning_rate": 3e-3},
    "AdamW8bit": {"learning_rate": 3e-3},
    "TorchOptimizer": {
        "name": "SGD",
        "learning_rate": 0.3,
        "weight_decay": 0.01,
        "arguments": {"momentum": 0.9, "nesterov": True},
    },
}
STEPS = 20


def config_of(name: str, shards: Path, runs: Path, **trainer: Any) -> dict[str, Any]:
    if name == "AdamW8bit":
        pytest.importorskip("bitsandbytes")
    config = tiny_config(shards, runs, **{"max_steps": STEPS, "val_every_steps": 5, **trainer})
    config["trainer"].update(checkpoint_every_steps=5)
    model = config["model"]["init_args"]
    model["optimizer"] = {"class_path": f"roots.optim.{name}", "init_args": OPTIMIZERS[name]}
    model["schedule"] = {
        "class_path": "roots.optim.WarmupStableDecay",
        "init_args": {"warmup_steps": 2, "decay_fraction": 0.25, "shape": "linear"},
    }
    # matrices of 4,096 values and more, so that some state has 8 bits
    model["network"]["init_args"]["config"] = {**LLAMA, "hidden_size": 64}
    model["clip_norm"] = 1.5
    return config


def rows_of(run: Run) -> list[dict[str, str]]:
    with run.metrics_file.open() as file:
        return list(csv.DictReader(file))


def numbers(run: Run) -> list[tuple[str, ...]]:
    names = ("step", "train/loss", "optim/grad_norm", "optim/learning_rate", "val/loss")
    return [tuple(row[name] for name in names) for row in rows_of(run)]


def interrupted(config: dict[str, Any], after: int) -> Run:
    class PowerCut(L.Callback):
        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == after:
                raise RuntimeError("power cut")

    composed = compose(config)
    composed.trainer.callbacks.insert(0, PowerCut())
    with pytest.raises(RuntimeError, match="power cut"):
        composed.fit()
    assert composed.trainer.run is not None
    return composed.trainer.run


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_learns_and_its_rate_warms_up_stays_and_decays(
    shards: Path, tmp_path: Path, name: str
) -> None:
    composed = compose(config_of(name, shards, tmp_path))
    rows = rows_of(composed.fit())
    losses = [float(row["train/loss"]) for row in rows]
    assert losses[-1] < losses[0] - 0.5
    norms = [float(row["optim/grad_norm"]) for row in rows]
    assert max(norms) > 1.5 > min(norms)  # some steps were clipped and some were not
    peak = OPTIMIZERS[name]["learning_rate"]
    rates = [float(row["optim/learning_rate"]) / peak for row in rows]
    assert rates == pytest.approx([0.5] + [1.0] * 14 + [0.8, 0.6, 0.4, 0.2, 0.0])


@pytest.mark.parametrize("precision", ["32", "bf16-true"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_resuming_gives_bitwise_the_uninterrupted_run(
    shards: Path, tmp_path: Path, name: str, precision: str
) -> None:
    whole = numbers(compose(config_of(name, shards, tmp_path / "a", precision=precision)).fit())
    run = interrupted(config_of(name, shards, tmp_path / "b", precision=precision), 12)
    checkpoint = torch.load(run.last().trainer_file, weights_only=True)
    assert checkpoint["global_step"] == 10
    composed, changes = resumed(str(run.path), {}, [])
    assert changes == []
    composed.fit()
    assert isinstance(composed.trainer.optimizers[0], MasterWeights) == (precision == "bf16-true")
    assert numbers(run) == whole


def train(name: str, shards: Path, runs: Path, micro_batch_size: int) -> list[tuple[str, ...]]:
    config = config_of(name, shards, runs, max_steps=6, val_every_steps=3)
    return numbers(compose(config, {"model.micro_batch_size": micro_batch_size}).fit())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_two_ranks_and_other_micro_batches_make_the_same_steps(
    shards: Path, tmp_path: Path, name: str
) -> None:
    alone = train(name, shards, tmp_path, 8)
    first, second = run_ranks(train, name, shards, tmp_path, 3)
    assert first == second
    for column in (1, 2):
        ours = torch.tensor([float(row[column]) for row in first], dtype=torch.float64)
        theirs = torch.tensor([float(row[column]) for row in alone], dtype=torch.float64)
        # sums in another order: last bits, which the rounding to 8 bits or bfloat16 may enlarge
        rtol = 1e-5 if name in ("AdamW", "TorchOptimizer") else 2e-3
        torch.testing.assert_close(ours, theirs, rtol=rtol, atol=0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_flags_win_over_the_checkpoint_in_every_group(
    shards: Path, tmp_path: Path, name: str
) -> None:
    run = interrupted(config_of(name, shards, tmp_path), 12)
    flags = [
        "--model.optimizer.weight_decay=0.3",
        "--model.optimizer.beta2=0.9",
        "--model.optimizer.learning_rate=0.001",
    ]
    if name == "TorchOptimizer":
        flags[1] = "--model.optimizer.arguments.momentum=0.5"
    if name == "Muon":
        flags += ["--model.optimizer.momentum=0.5", "--model.optimizer.adamw_learning_rate=0.002"]
    composed, _ = resumed(str(run.path), {}, flags)
    seen: list[list[dict[str, Any]]] = []

    class Look(L.Callback):
        def on_before_optimizer_step(self, _t: Any, _m: Any, optimizer: Any) -> None:
            seen.append(
                [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
            )

    composed.trainer.callbacks.append(Look())
    composed.fit()
    groups = {group["name"]: group for group in seen[0]}
    for kind, group in groups.items():
        assert group["weight_decay"] == (0.0 if kind.startswith("undecayed") else 0.3)
        assert group["lr"] == (0.002 if name == "Muon" and kind != "matrices" else 0.001)
        if kind == "matrices" or name == "TorchOptimizer":
            assert (group["momentum"], group["nesterov"]) == (0.5, True)
        else:
            assert group["betas"] == (0.9, 0.9)


def test_another_optimizer_cannot_take_over_and_the_first_goes_on(
    shards: Path, tmp_path: Path
) -> None:
    run = interrupted(config_of("AdamW", shards, tmp_path), 12)
    named = r"cannot change .*optimizer\.class_path: .roots\.optim\.AdamW. → .roots\.optim\.Muon"
    with pytest.raises(CheckpointError, match=named):
        resumed(str(run.path), {}, ["--model.optimizer=roots.optim.Muon"])
    resumed(str(run.path), {}, [])[0].fit()


def test_another_class_of_torch_cannot_take_over(shards: Path, tmp_path: Path) -> None:
    run = interrupted(config_of("TorchOptimizer", shards, tmp_path), 12)
    with pytest.raises(CheckpointError, match=r"cannot change .*\.name: .SGD. → .Adamax."):
        resumed(
            str(run.path), {}, ["--model.optimizer.name=Adamax", "--model.optimizer.arguments={}"]
        )


def test_a_norm_that_is_not_finite_stops_the_run_before_any_weight_changes(
    shards: Path, tmp_path: Path
) -> None:
    composed = compose(config_of("AdamW", shards, tmp_path))
    kept: dict[str, Any] = {}

    class Poison(L.Callback):
        """Spoils a gradient, so that loss and weights are as they should be."""

        def on_train_batch_start(self, trainer: Any, module: Any, *_: Any) -> None:
            if trainer.global_step == 3:
                strategy, own = trainer.strategy, trainer.strategy.grad_norm

                def spoilt(parameters: Any) -> Any:
                    everything = list(parameters)
                    everything[0].grad.view(-1)[0] = float("inf")
                    return own(everything)

                strategy.grad_norm = spoilt
                kept.update({n: p.detach().clone() for n, p in module.named_parameters()})

    composed.trainer.callbacks.insert(0, Poison())
    with pytest.raises(TrainingError, match=r"Step 4 has loss .* gradient norm inf"):
        composed.fit()
    assert kept
    for name, parameter in composed.model.named_parameters():
        assert torch.equal(parameter, kept[name]), name


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_can_be_planned(shards: Path, tmp_path: Path, name: str) -> None:
    composed = compose(config_of(name, shards, tmp_path))
    assert " parameters (" in str(plan_run(composed.trainer, composed.model, composed.data))
