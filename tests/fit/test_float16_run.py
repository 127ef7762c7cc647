"""A run in 16-mixed: overflows are skipped on every rank, and the rest is a plain loop's."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import torch.nn.functional as F
from parity.test_plain_loop import column, groups_by_hand, steps_of
from ranks import run_ranks
from tiny import tiny_config
from torch import Tensor, nn

from roots.callbacks.stability import StepRule
from roots.errors import ConfigError, TrainingError
from roots.fit import Trainer, compose
from roots.fit.compose import Composed, resumed
from roots.optim.clipping import local
from roots.runs import Run

pytestmark = pytest.mark.heavy

STEPS, RATE, SCALE, EVERY = 20, 3e-3, 1024.0, 6
FP16 = {
    "class_path": "roots.precision.FP16Mixed",
    "init_args": {"init_scale": SCALE, "growth_interval": EVERY},
}


def a_config(shards: Path, runs: Path, **trainer: Any) -> dict[str, Any]:
    config = tiny_config(shards, runs, max_steps=STEPS, val_every_steps=5, precision=FP16)
    config["trainer"].update(trainer)
    config["model"]["init_args"].update(micro_batch_size=8, clip_norm=1.2)
    config["model"]["init_args"]["schedule"] = {"class_path": "roots.optim.Constant"}
    return config


class Overflows(L.Callback):
    """Makes the gradient of some steps overflow on one rank, on its way back through the network.

    Args:
        steps: The steps, from 0.
        rank: The rank.
    """

    def __init__(self, steps: tuple[int, ...], rank: int = 0) -> None:
        self.steps = steps
        self.rank = rank
        self.kept: dict[str, Any] = {}

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, _: int) -> None:
        planted = batch.step in self.steps and trainer.global_rank == self.rank
        layer = module.trainable.network.model.layers[0]
        self.handle = plant(layer) if planted else None
        self.kept["before"] = everything(module)

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, _: int
    ) -> None:
        if self.handle is not None:
            self.handle.remove()
        if batch.step in self.steps:
            same = zip(self.kept["before"], everything(module), strict=True)
            self.kept[batch.step] = all(torch.equal(one, other) for one, other in same)


def plant(layer: nn.Module) -> Any:
    def spoil(_: nn.Module, __: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        hidden.register_hook(lambda gradient: gradient * torch.inf)

    return layer.register_forward_hook(spoil)


def everything(module: Any) -> list[Tensor]:
    states = module.trainer.optimizers[0].state_dict()["state"].values()
    kept = [local(value).clone() for state in states for value in state.values()]
    return [local(p.detach()).clone() for p in module.parameters()] + kept


def plain_loop(composed: Composed, spoilt: tuple[int, ...]) -> dict[str, list[float]]:
    """Losses, norms and scales of a loop as torch's documentation has it."""
    builder, data = composed.model.builder, composed.data
    network = builder.build(data.vocabulary, seed=1, device=torch.device("cpu")).train()
    optimizer = torch.optim.AdamW(
        groups_by_hand(network), lr=RATE, betas=(0.9, 0.95), eps=1e-8, fused=True
    )
    scaler = torch.amp.GradScaler("cpu", init_scale=SCALE, growth_interval=EVERY)
    found: dict[str, list[float]] = {"losses": [], "norms": [], "scales": []}
    for batch in steps_of(data):
        handle = plant(network.model.layers[0]) if batch.step in spoilt else None
        found["scales"].append(scaler.get_scale())
        with torch.autocast("cpu", torch.float16):
            logits = network(input_ids=batch.input_ids, use_cache=False).logits
            loss = F.cross_entropy(
                logits.float().flatten(0, 1), batch.labels.flatten(), ignore_index=-100
            )
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        found["norms"].append(nn.utils.clip_grad_norm_(network.parameters(), 1.2).item())
        scaler.step(optimizer)
        scaler.update()
        found["losses"].append(loss.item())
        if handle is not None:
            handle.remove()
    found["weights"] = [p.detach() for p in network.parameters()]  # type: ignore[misc]
    return found


@pytest.mark.parametrize("spoilt", [(), (7, 8, 15)])
def test_twenty_steps_are_those_of_a_plain_loop_with_torchs_scaler(
    shards: Path, tmp_path: Path, spoilt: tuple[int, ...]
) -> None:
    config = a_config(shards, tmp_path)
    config["model"]["init_args"]["loss"] = "plain"
    config["model"]["init_args"]["optimizer"]["init_args"] = {"learning_rate": RATE}
    composed = compose(config)
    expected = plain_loop(compose(config), spoilt)
    planted = Overflows(spoilt)
    composed.trainer.callbacks.insert(0, planted)
    run = composed.fit()

    assert column(run, "optim/loss_scale") == expected["scales"]
    assert len(set(expected["scales"])) > 2
    assert column(run, "train/loss") == pytest.approx(expected["losses"], rel=1e-4)
    norms = column(run, "optim/grad_norm")
    for step, (ours, theirs) in enumerate(zip(norms, expected["norms"], strict=True)):
        assert (step in spoilt) == (ours in (float("inf"), float("nan")) or ours != ours)
        if step not in spoilt:
            assert ours == pytest.approx(theirs, rel=2e-3)
    for ours, theirs in zip(composed.model.parameters(), expected["weights"], strict=True):
        torch.testing.assert_close(ours.detach(), theirs, rtol=0, atol=1e-3)
    assert column(run, "optim/steps_skipped")[-1] == len(spoilt)
    assert all(planted.kept[step] for step in spoilt)  # weights and moments, bit by bit


class LeavesOutAll(StepRule):
    """Leaves every step out, for no fault of its gradient."""

    def judge(self, loss: Tensor, grad_norm: Tensor) -> Tensor:
        return grad_norm.isfinite()

    def check(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Ends no run."""


def test_steps_that_another_rule_leaves_out_are_no_overflows(shards: Path, tmp_path: Path) -> None:
    composed = compose(a_config(shards, tmp_path, max_steps=EVERY + 2))
    composed.trainer.callbacks.insert(0, LeavesOutAll())
    run = composed.fit()
    assert column(run, "optim/steps_skipped")[-1] == EVERY + 2
    assert column(run, "optim/loss_scale") == [SCALE] * EVERY + [2 * SCALE] * 2  # it has held


def test_an_activation_is_float16(shards: Path, tmp_path: Path) -> None:
    composed, seen = compose(a_config(shards, tmp_path, max_steps=1)), set()

    class Looks(L.Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, *_: Any) -> None:
            projection = module.trainable.network.model.layers[0].mlp.up_proj
            projection.register_forward_hook(lambda _, __, output: seen.add(output.dtype))

    composed.trainer.callbacks.insert(0, Looks())
    composed.fit()
    assert seen == {torch.float16}


def test_hooks_before_the_step_see_gradients_without_the_scale(
    shards: Path, tmp_path: Path
) -> None:
    norms: list[float] = []

    class Measures(L.Callback):
        def on_before_optimizer_step(self, trainer: Any, module: Any, _: Any) -> None:
            gradients = [p.grad for p in module.parameters() if p.grad is not None]
            norms.append(float(nn.utils.get_total_norm(gradients)))

    composed = compose(a_config(shards, tmp_path, max_steps=3))
    composed.trainer.callbacks.insert(0, Measures())
    logged = column(composed.fit(), "optim/grad_norm")
    assert norms == pytest.approx(logged, rel=1e-5)
    assert max(logged) < 100 < SCALE


@pytest.mark.parametrize("optimizer", ["AdamW", "Muon"])
def test_the_fused_loss_learns_as_the_plain_one(
    shards: Path, tmp_path: Path, optimizer: str
) -> None:
    losses = {}
    for kind, precision in (("fused", FP16), ("plain", FP16), ("exact", "32")):
        config = a_config(shards, tmp_path, precision=precision)
        config["model"]["init_args"]["loss"] = "fused" if kind == "fused" else "plain"
        config["model"]["init_args"]["optimizer"]["class_path"] = f"roots.optim.{optimizer}"
        losses[kind] = column(compose(config).fit(), "train/loss")
    assert losses["fused"] == pytest.approx(losses["exact"], rel=5e-3)
    assert losses["plain"] == pytest.approx(losses["exact"], rel=5e-3)


def test_lightnings_own_plugin_is_refused_with_the_cure() -> None:
    from lightning.pytorch.plugins.precision import MixedPrecision

    theirs: Any = MixedPrecision("16-mixed", "cpu")
    with pytest.raises(ConfigError, match=r"MixedPrecision is .* from roots\.precision, or a name"):
        Trainer(max_steps=1, precision=theirs, accelerator="cpu")
    Trainer(max_steps=1, precision="16-mixed", accelerator="cpu")


# -- over ranks -----------------------------------------------------------------------------------


STRATEGIES = ("ddp", "fsdp", "tensor_parallel")


def in_every_way(shards: Path, runs: Path, rank: int) -> dict[str, dict[str, Any]]:
    return {strategy: on_this_rank(shards, runs, rank, strategy) for strategy in STRATEGIES}


def on_this_rank(shards: Path, runs: Path, rank: int, strategy: str) -> dict[str, Any]:
    """Trains with an overflow on one rank; gives what this rank decided and has."""
    composed = compose(a_config(shards, runs, strategy=strategy))
    planted = Overflows((7,), rank=rank)
    composed.trainer.callbacks.insert(0, planted)
    composed.fit()
    assert composed.trainer.run is not None
    return {
        "untouched": planted.kept[7],
        "scale": float(composed.trainer.precision_plugin.loss_scale),
        "skipped": composed.trainer.skipped_steps.state_dict()["total"],
        "weights": [whole(p.detach()).numpy() for p in composed.model.parameters()],
        "scales": column(composed.trainer.run, "optim/loss_scale"),
    }


def whole(tensor: Any) -> Tensor:
    gathered: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return gathered


@pytest.fixture(scope="module")
def both(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return run_ranks(in_every_way, shards, tmp_path_factory.mktemp("both"), 1)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_overflow_on_one_rank_halves_the_scale_and_skips_the_step_on_both(
    both: list, strategy: str
) -> None:
    first, second = (rank[strategy] for rank in both)
    for rank in (first, second):
        assert rank["untouched"]
        assert rank["skipped"] == 1
        assert rank["scales"][6:9] == [2048, 2048, 1024]  # it had grown after six steps
    assert first["scale"] == second["scale"]
    for one, other in zip(first["weights"], second["weights"], strict=True):
        assert (one == other).all()


# -- resume ---------------------------------------------------------------------------------------


def rows_of(run: Run) -> list[tuple[str, ...]]:
    names = ("step", "train/loss", "optim/grad_norm", "optim/loss_scale", "optim/steps_skipped")
    with run.metrics_file.open() as file:
        return [tuple(row[name] for name in names) for row in csv.DictReader(file)]


def test_a_resumed_run_is_bitwise_the_run_that_was_not_interrupted(
    shards: Path, tmp_path: Path
) -> None:
    class PowerCut(L.Callback):
        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 13:
                raise RuntimeError("power cut")

    whole = compose(a_config(shards, tmp_path / "whole"))
    whole.trainer.callbacks.insert(0, Overflows((3, 7, 16)))
    cut = compose(a_config(shards, tmp_path / "cut"))
    cut.trainer.callbacks[:0] = [Overflows((3, 7, 16)), PowerCut()]
    with pytest.raises(RuntimeError, match="power cut"):
        cut.fit()
    assert cut.trainer.run is not None
    saved = torch.load(cut.trainer.run.last().trainer_file, weights_only=True)
    assert saved["FP16Mixed"] == {"scale": 256.0, "held_for": 2}
    on, _ = resumed(str(cut.trainer.run.path), {}, [])
    on.trainer.callbacks.insert(0, Overflows((3, 7, 16)))
    assert rows_of(on.fit()) == rows_of(whole.fit())


def test_a_scale_that_nothing_fits_ends_the_run(shards: Path, tmp_path: Path) -> None:
    composed = compose(a_config(shards, tmp_path, max_steps=40))
    composed.trainer.callbacks.insert(0, Overflows(tuple(range(2, 40))))
    with pytest.raises(TrainingError, match=r"^The last 25 steps were all left out, step 27 "):
        composed.fit()
    assert composed.trainer.global_step == 26
