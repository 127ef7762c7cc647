"""Modules, losses and data of your own: what is trained, saved and reported, what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from own_modules import HeadInside, Scaled
from tiny import LLAMA

import roots
from roots.data import TokenCorpus
from roots.errors import CheckpointError, ConfigError
from roots.fit import Trainer, compose
from roots.fit.compose import Composed, resumed
from roots.networks import Scratch
from roots.optim import AdamW, Constant
from roots.runs import Run, load_metrics
from roots.strategies.sharded_files import AVERAGE

FROZEN = ("proj.weight", "proj.bias", "target")


def with_module(config: dict[str, Any], name: str, **arguments: Any) -> dict[str, Any]:
    config["model"]["class_path"] = f"own_modules.{name}"
    config["model"]["init_args"] |= arguments
    return config


def with_data(config: dict[str, Any], name: str) -> dict[str, Any]:
    config["data"]["class_path"] = f"own_modules.{name}"
    return config


def column(run: Run, name: str) -> list[float]:
    return [row[name] for row in load_metrics(run.metrics_file).rows.values() if name in row]


class Watches(L.Callback):
    """Keeps the loss's own weights as they were before the first step."""

    def __init__(self) -> None:
        self.first: dict[str, torch.Tensor] = {}

    def on_train_start(self, trainer: Any, module: Any) -> None:
        state = module.trainable.state_dict()
        self.first = {name: state[name].clone() for name in FROZEN}


def fitted(config: dict[str, Any], overrides: dict[str, Any] | None = None) -> tuple[Any, Any]:
    composed, watches = compose(config, overrides or {}), Watches()
    composed.trainer.callbacks.append(watches)
    composed.fit()
    return composed, watches


# -- a loss with layers of its own ------------------------------------------------------------


def test_the_same_seed_draws_the_layers_of_a_loss_alike(config: dict[str, Any]) -> None:
    with_module(config, "HeadInside")
    short = {"trainer.max_steps": 3, "trainer.val_every_steps": 0}
    (one, first), (two, second), (_, other) = (
        fitted(config, {**short, "seed": seed}) for seed in (1, 1, 2)
    )
    assert all(torch.equal(first.first[name], second.first[name]) for name in FROZEN)
    assert not any(torch.equal(first.first[name], other.first[name]) for name in FROZEN)
    assert column(one.trainer.run, "train/loss") == column(two.trainer.run, "train/loss")


def test_they_are_not_drawn_from_the_numbers_of_the_network(config: dict[str, Any]) -> None:
    """Else its first layer would begin as the network's embeddings do, in another scale."""
    model = compose(with_module(config, "HeadInside")).model
    model.vocabulary = compose(config).data.vocabulary
    trainable = model.build(seed=1, device=torch.device("cpu"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        assert not torch.equal(trainable.proj.weight, torch.nn.Linear(32, 8).weight)


@pytest.mark.parametrize("averages", [None, True, False])
def test_a_run_is_loaded_with_the_layers_of_its_loss(
    config: dict[str, Any], averages: bool | None
) -> None:
    with_module(config, "HeadInside")
    if averages is not None:
        arguments = {"decay": 0.5, "use": averages}
        average = {"class_path": "roots.callbacks.WeightAverage", "init_args": arguments}
        config["trainer"]["callbacks"] = [average]
    composed, watches = fitted(config)
    run = composed.trainer.run
    trained = composed.model.trainable.state_dict()
    assert not torch.equal(trained["proj.weight"], watches.first["proj.weight"])
    expected = {name: trained[name] for name in FROZEN}
    if averages:
        saved = torch.load(run.last().trainer_file, weights_only=True)[AVERAGE]
        expected |= {n: saved[f"trainable.{n}"] for n in FROZEN if f"trainable.{n}" in saved}
        assert not torch.equal(expected["proj.weight"], trained["proj.weight"])
    found = roots.load(run.path, "last").trainable.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_beside_an_adapter_they_are_saved_and_go_on(config: dict[str, Any]) -> None:
    base = compose(config).fit()
    adapter = {"class_path": "roots.networks.LoRA", "init_args": {"rank": 2}}
    network = {"path": str(base.path), "adapter": adapter}
    pretrained = {"class_path": "roots.networks.Pretrained", "init_args": network}
    config["model"]["init_args"]["network"] = pretrained
    composed, watches = fitted(with_module(config, "HeadInside"))
    run, trained = composed.trainer.run, composed.model.trainable.state_dict()
    assert not torch.equal(trained["proj.weight"], watches.first["proj.weight"])
    found = roots.load(run.path, "last").trainable.state_dict()
    assert all(torch.equal(found[name], trained[name]) for name in FROZEN)
    again, _ = resumed(str(run.path), {}, ["--trainer.max_steps=8"])
    assert len(column(again.fit(), "train/loss")) == 8


def test_a_checkpoint_without_them_is_refused(config: dict[str, Any]) -> None:
    composed = compose(with_module(config, "Scaled"))
    run = composed.fit()
    said = yaml.safe_load(run.config_file.read_text())
    said["model"] = {**said["model"], "class_path": "own_modules.HeadInside"}
    said["model"]["init_args"].pop("alpha")
    run.config_file.write_text(yaml.safe_dump(said))
    message = r"HeadInside has the weight trainable\.(proj|target).*trainer\.ckpt lacks it\. Use"
    with pytest.raises(CheckpointError, match=message):
        roots.load(run.path, "last")
    said["model"]["class_path"] = "own_modules.Scaled"  # the cure
    run.config_file.write_text(yaml.safe_dump(said))
    roots.load(run.path, "last")


def test_layers_beside_what_is_trained_are_refused_unless_they_are_not_trained(
    config: dict[str, Any],
) -> None:
    message = r"HeadOutside has 2 weights beside its trainable \(proj\.weight\).* trainable_of"
    with pytest.raises(ConfigError, match=message):
        compose(with_module(config, "HeadOutside")).fit()
    compose(with_module(config, "HeadOutside", frozen=True), {"trainer.max_steps": 3}).fit()
    del config["model"]["init_args"]["frozen"]
    compose(with_module(config, "HeadInside"), {"trainer.max_steps": 3}).fit()


# -- what a loss is divided by ----------------------------------------------------------------


def test_a_loss_of_rows_is_divided_by_rows_in_training_and_validation(
    config: dict[str, Any],
) -> None:
    run = compose(with_module(config, "RowLoss")).fit()
    assert set(column(run, "train/loss")) == set(column(run, "val/loss")) == {1.0}


def test_a_step_that_is_divided_by_something_else_is_refused(config: dict[str, Any]) -> None:
    """8 rows are scored; of their 128 tokens, the last 4 of documents have no label."""
    message = r"Step 1 scored 116 labels more or fewer .* n_labels_of count"
    with pytest.raises(ConfigError, match=message):
        compose(with_module(config, "RowLoss", by_rows=False)).fit()


def test_a_part_that_is_missing_in_a_micro_batch_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"has the part 'rare', and that of another"):
        compose(with_module(config, "SomeParts")).fit()
    run = compose(with_module(config, "SomeParts", always=True)).fit()
    rare, loss = (column(run, f"train/{name}") for name in ("rare", "loss"))
    assert rare == pytest.approx(loss)


def test_a_part_with_the_name_of_the_loss_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"a part 'loss', which is the name of"):
        compose(with_module(config, "SomeParts", always=True, part="loss")).fit()


# -- which rows -------------------------------------------------------------------------------


def test_a_loader_that_begins_again_is_refused(config: dict[str, Any]) -> None:
    message = r"FourBatches gives the rows of step 0, .* step 4 are due\. .*self\.training_loader"
    with pytest.raises(ConfigError, match=message):
        compose(with_data(config, "FourBatches")).fit()
    config["data"]["class_path"] = "roots.data.TokenCorpus"
    compose(config).fit()


def test_what_is_no_step_batch_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"A loader of the data gives a list, .* is a StepBatch"):
        compose(with_data(config, "Lists")).fit()


def test_data_that_ask_for_something_of_their_own_are_refused(config: dict[str, Any]) -> None:
    message = r"Asks asks for pairs to contrast, and CausalLM learns next tokens\. Let `asks`"
    with pytest.raises(ConfigError, match=message):
        compose(with_data(config, "Asks")).fit()


# -- settings ---------------------------------------------------------------------------------


def in_python(shards: Path, runs: Path, module: Any) -> Run:
    settings: dict[str, Any] = {"max_steps": 2, "accelerator": "cpu", "precision": "32"}
    trainer = Trainer(runs_dir=str(runs), name="own", progress=False, **settings)
    data = TokenCorpus(shards=str(shards), seq_len=16, sequences_per_step=8)
    trainer.fit(module, datamodule=data)
    assert trainer.run is not None
    return trainer.run


def test_a_module_made_in_python_is_written_down_with_its_own_class_and_arguments(
    shards: Path, tmp_path: Path
) -> None:
    network = Scratch(config=LLAMA, attention="sdpa")
    module = Scaled(alpha=3.0, network=network, optimizer=AdamW(), schedule=Constant())
    run = in_python(shards, tmp_path, module)
    said = yaml.safe_load(run.config_file.read_text())["model"]
    assert said["class_path"] == "own_modules.Scaled"
    assert said["init_args"]["alpha"] == 3.0
    assert "distiller" not in said["init_args"]
    loaded = roots.load(run.path)
    assert isinstance(loaded, Scaled)
    assert loaded.alpha == 3.0
    file = run.last().trainer_file
    assert Scaled.load_from_checkpoint(file, weights_only=True).alpha == 3.0


def test_an_argument_that_is_not_kept_is_refused_before_the_first_step(
    config: dict[str, Any],
) -> None:
    message = r"own_modules\.Forgetful does not keep its argument alpha.*: self\.alpha = alpha\."
    with pytest.raises(ConfigError, match=message):
        compose(with_module(config, "Forgetful", alpha=3.0)).fit()


def test_an_optimizer_without_a_rate_is_refused(config: dict[str, Any]) -> None:
    optimizer = {"class_path": "own_modules.NoRate"}
    config["model"]["init_args"]["optimizer"] = optimizer
    with pytest.raises(ConfigError, match=r"NoRate has no learning_rate.*self\.learning_rate ="):
        compose(config)
    optimizer["class_path"] = "own_modules.Rate"
    compose(config, {"trainer.max_steps": 3}).fit()


def test_a_network_that_is_none_of_transformers_is_refused(config: dict[str, Any]) -> None:
    config["model"]["init_args"]["network"] = {"class_path": "own_modules.PlainModule"}
    with pytest.raises(ConfigError, match=r"PlainModule builds a Embedding.*PreTrainedModel"):
        compose(config).fit()


# -- a validation before the training ---------------------------------------------------------


@pytest.mark.parametrize("validates_first", [False, True])
def test_a_network_is_made_ready_to_be_trained_also_after_a_validation(
    config: dict[str, Any], validates_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    monkeypatch.setattr(
        "roots.modules.make_fast.compile_network",
        lambda network, mode, device, **_: compiled.append(mode),
    )
    config["model"]["init_args"]["network"]["init_args"]["attention"] = "auto"
    composed: Composed = compose(config, {"trainer.max_steps": 3})
    if validates_first:
        composed.evaluate("validate")
        assert not compiled
    composed.fit()
    composed.evaluate("validate")
    assert compiled == ["none"]
    chosen = [remark for remark in composed.model.remarks if remark.startswith("attention:")]
    assert len(chosen) == 1
    assert re.match(rf"attention: {composed.model.builder.attention}", chosen[0])
    assert composed.model.builder.attention != "auto"


def test_what_a_run_was_trained_with_goes_on_from_its_checkpoint(config: dict[str, Any]) -> None:
    composed, _ = fitted(with_module(config, "HeadInside"))
    file = composed.trainer.run.last().trainer_file
    loaded = HeadInside.load_from_checkpoint(file, weights_only=True)
    trained = composed.model.trainable.state_dict()
    assert all(torch.equal(loaded.trainable.state_dict()[n], trained[n]) for n in FROZEN)
