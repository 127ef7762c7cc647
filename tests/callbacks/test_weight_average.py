"""The average of the weights is its definition, in the checkpoint, and used where it says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from ranks import run_ranks
from safetensors.torch import load_file
from tiny import tiny_config
from torch import Tensor, nn

from roots.callbacks import WeightAverage
from roots.callbacks.weight_average import average_in
from roots.errors import ConfigError
from roots.fit import compose
from roots.fit.compose import Composed, from_run, resumed
from roots.runs import read_metrics


def a_config(shards: Path, runs: Path, **settings: Any) -> dict[str, Any]:
    average = {"class_path": "roots.callbacks.WeightAverage", "init_args": settings}
    return tiny_config(shards, runs, callbacks=[average])


class Keeps(L.Callback):
    """Keeps the weights before the first step and after each."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []

    def on_train_start(self, trainer: Any, module: Any) -> None:
        self.weights.append({n: p.detach().clone() for n, p in module.named_parameters()})

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        self.on_train_start(trainer, module)


def trained(config: dict[str, Any], **trainer: Any) -> tuple[Composed, list[dict[str, Tensor]]]:
    config["trainer"].update(trainer)
    composed, keeps = compose(config), Keeps()
    composed.trainer.callbacks.append(keeps)
    composed.fit()
    return composed, keeps.weights


def by_definition(
    weights: list[dict[str, Tensor]], decay: float, every_steps: int, from_step: int
) -> dict[str, Tensor]:
    average = {name: weight.double() for name, weight in weights[0].items()}
    for step, present in enumerate(weights[1:], start=1):
        for name, weight in present.items():
            if step <= from_step:
                average[name] = weight.double()
            elif step % every_steps == 0:
                average[name] = decay * average[name] + (1 - decay) * weight.double()
    return average


@pytest.mark.parametrize(
    ("decay", "every_steps", "from_step", "precision"),
    [(0.9, 1, 0, "32"), (0.5, 2, 3, "32"), (0.99, 1, 2, "bf16-true")],
)
def test_the_average_is_its_definition_in_float64(
    shards: Path, tmp_path: Path, decay: float, every_steps: int, from_step: int, precision: str
) -> None:
    config = a_config(shards, tmp_path, decay=decay, every_steps=every_steps, from_step=from_step)
    composed, weights = trained(config, precision=precision)
    assert composed.trainer.run is not None
    kept = torch.load(composed.trainer.run.last().trainer_file, weights_only=True)
    expected = by_definition(weights, decay, every_steps, from_step)
    assert kept["weight_average"].keys() == expected.keys()
    for name, average in kept["weight_average"].items():
        assert average.dtype == torch.float32
        torch.testing.assert_close(average.double(), expected[name], rtol=1e-6, atol=1e-8)
        live = kept["state_dict"][name]
        assert torch.equal(live, weights[-1][name])  # training goes on with its own weights
    assert any(not torch.equal(v, weights[-1][n].float()) for n, v in expected.items())


def folder_weights(composed: Composed) -> dict[str, Tensor]:
    assert composed.trainer.run is not None
    return load_file(composed.trainer.run.last().path / "model.safetensors")


def test_it_is_validated_and_written_to_be_used(shards: Path, tmp_path: Path) -> None:
    composed, weights = trained(a_config(shards, tmp_path / "a", decay=0.8))
    plain, _ = trained(tiny_config(shards, tmp_path / "b"))
    assert composed.trainer.run is not None
    expected = by_definition(weights, 0.8, 1, 0)
    written = folder_weights(composed)
    assert written
    for name, weight in written.items():
        average = expected[f"trainable.network.{name}"]
        torch.testing.assert_close(weight.double(), average, rtol=1e-6, atol=1e-8)
    ours = read_metrics(composed.trainer.run.metrics_file)
    assert plain.trainer.run is not None
    theirs = read_metrics(plain.trainer.run.metrics_file)
    assert [row["train/loss"] for row in ours] == [row["train/loss"] for row in theirs]
    assert ours[-1]["val/loss"] != theirs[-1]["val/loss"]

    network = composed.model.trainable.network
    network.load_state_dict(written, strict=False)
    assert measured(composed) == pytest.approx(float(ours[-1]["val/loss"]), rel=1e-6)
    again = from_run(str(composed.trainer.run.path), "last", [])
    again.evaluate("validate")
    assert again.trainer.latest["val/loss"] == float(ours[-1]["val/loss"])


def measured(composed: Composed) -> float:
    """The validation loss of the network as it is."""
    total, count = 0.0, 0
    composed.model.trainable.eval()
    with torch.no_grad():
        for batch in composed.data.val_dataloader():
            score = composed.model.trainable(batch)
            total, count = total + float(score.loss), count + int(score.n_labels)
    return total / count


def test_it_may_only_be_kept(shards: Path, tmp_path: Path) -> None:
    composed, weights = trained(a_config(shards, tmp_path / "a", decay=0.8, use=False))
    plain, _ = trained(tiny_config(shards, tmp_path / "b"))
    for name, weight in folder_weights(composed).items():
        assert torch.equal(weight, weights[-1][f"trainable.network.{name}"])
    assert composed.trainer.latest["val/loss"] == plain.trainer.latest["val/loss"]


def test_a_resumed_run_has_bitwise_the_average_of_the_whole_one(
    shards: Path, tmp_path: Path
) -> None:
    class PowerCut(L.Callback):
        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 4:
                raise RuntimeError("power cut")

    whole, _ = trained(a_config(shards, tmp_path / "a", decay=0.7, every_steps=2))
    cut = compose(a_config(shards, tmp_path / "b", decay=0.7, every_steps=2))
    cut.trainer.callbacks.insert(0, PowerCut())
    with pytest.raises(RuntimeError, match="power cut"):
        cut.fit()
    assert cut.trainer.run is not None
    on, _ = resumed(str(cut.trainer.run.path), {}, [])
    on.fit()
    ours, theirs = (average_of(composed) for composed in (on, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


class StopsIn(L.Callback):
    """Breaks a fit off by an error: in a validation, or in the step after one."""

    def __init__(self, hook: str) -> None:
        self.hook = hook

    def on_validation_batch_end(self, *_: Any) -> None:
        if self.hook == "validation":
            raise RuntimeError("power cut")

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        if self.hook == "step" and trainer.global_step == 4:
            raise RuntimeError("power cut")


@pytest.mark.parametrize("hook", ["validation", "step"])
def test_a_fit_that_breaks_off_leaves_its_own_weights(
    shards: Path, tmp_path: Path, hook: str
) -> None:
    composed, keeps = compose(a_config(shards, tmp_path, decay=0.7)), Keeps()
    composed.trainer.callbacks += [keeps, StopsIn(hook)]
    with pytest.raises(RuntimeError, match="power cut"):
        composed.fit()
    assert len(keeps.weights) == {"validation": 4, "step": 5}[hook]
    for name, parameter in composed.model.named_parameters():
        assert torch.equal(parameter, keeps.weights[-1][name])


def average_of(composed: Composed) -> dict[str, Tensor]:
    assert composed.trainer.run is not None
    kept = torch.load(composed.trainer.run.last().trainer_file, weights_only=True)
    average: dict[str, Tensor] = kept["weight_average"]
    return average


# -- over ranks -----------------------------------------------------------------------------------


def averaged_shards() -> list[tuple[Any, Any]]:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    torch.distributed.init_process_group("gloo")
    torch.manual_seed(0)
    whole, cut = nn.Linear(6, 5), nn.Linear(6, 5)
    cut.load_state_dict(whole.state_dict())
    fully_shard(cut, mesh=init_device_mesh("cpu", (2,)))
    callbacks = [WeightAverage(decay=0.6), WeightAverage(decay=0.6)]
    for callback, network in zip(callbacks, (whole, cut), strict=True):
        callback.on_train_start(None, network)  # type: ignore[arg-type]
        for step in range(3):
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.mul_(1.1 + step)
            average_in(*callback._pairs(network), 0.6)  # type: ignore[arg-type]
        with callback.in_place(network):  # type: ignore[arg-type]
            inside = [gathered(p) for p in network.parameters()]
        callback.found = inside, [gathered(p) for p in network.parameters()]
    return [callback.found for callback in callbacks]


def gathered(tensor: Tensor) -> Any:
    whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return whole.detach().numpy().copy()


class HalfFrozen(L.LightningModule):
    """Two layers, of which the first is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(3, 3).requires_grad_(False)
        self.adapter = nn.Linear(3, 1)
        nn.init.zeros_(self.adapter.bias)


def test_only_what_is_trained_is_averaged() -> None:
    module, average, trainer = (
        HalfFrozen(),
        WeightAverage(decay=0.5),
        SimpleNamespace(global_step=1),
    )
    average.on_train_start(trainer, module)  # type: ignore[arg-type]
    assert average._average.keys() == {"adapter.weight", "adapter.bias"}
    module.adapter.bias.data += 1.0
    average.on_train_batch_end(trainer, module, None, None, 0)  # type: ignore[arg-type]
    with average.in_place(module):
        assert module.adapter.bias.item() == 0.5
    assert module.adapter.bias.item() == 1.0


def test_an_average_of_frozen_weights_too_as_older_versions_kept_it_is_taken() -> None:
    module, average, trainer = HalfFrozen(), WeightAverage(), SimpleNamespace()
    kept = {name: torch.full_like(p, 7.0) for name, p in module.named_parameters()}
    average.on_load_checkpoint(trainer, module, {"weight_average": kept})  # type: ignore[arg-type]
    with average.in_place(module):  # to validate by it
        assert all(bool((p == 7.0).all()) for p in module.parameters())
    average.on_train_start(trainer, module)  # type: ignore[arg-type]
    assert average._average.keys() == {"adapter.weight", "adapter.bias"}
    with average.in_place(module):
        assert bool((module.adapter.weight == 7.0).all())


def test_shards_are_averaged_where_they_lie() -> None:
    for (inside, outside), (inside_cut, outside_cut) in run_ranks(averaged_shards):
        for one, other in zip(inside + outside, inside_cut + outside_cut, strict=True):
            assert (one == other).all()
        assert any((a != b).any() for a, b in zip(inside, outside, strict=True))


# -- settings that cannot work --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "cure", "message"),
    [
        ({"decay": 1.0}, {"decay": 0.9999}, r"decay=1 .* less than 1"),
        ({"every_steps": 0}, {"every_steps": 1}, r"every_steps=0 .* 1 or more"),
        ({"from_step": -1}, {"from_step": 0}, r"from_step=-1 .* 0 or more"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict, cure: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WeightAverage(**wrong)
    WeightAverage(**cure)


def test_a_second_average_would_take_the_firsts_place_and_is_refused(
    shards: Path, tmp_path: Path
) -> None:
    config = a_config(shards, tmp_path, decay=0.9)
    first = config["trainer"]["callbacks"][0]
    second = {**first, "init_args": {"decay": 0.5, "use": False}}
    with pytest.raises(ConfigError, match=r"WeightAverage is there twice.*Leave one out"):
        compose({**config, "trainer": {**config["trainer"], "callbacks": [first, second]}})
    compose(config)
