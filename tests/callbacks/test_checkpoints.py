"""A checkpoint is whole or not there; the newest and the best stay."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from tiny import tiny_config
from transformers import AutoModelForCausalLM, AutoTokenizer

from roots.callbacks import checkpoints as module_under_test
from roots.fit import compose
from roots.fit.compose import Composed
from roots.modules import CausalLM
from roots.runs import Run


@pytest.fixture(scope="module")
def fitted(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Composed:
    """One finished run, shared by the tests that only read it."""
    composed = compose(tiny_config(shards, tmp_path_factory.mktemp("fitted")))
    composed.fit()
    return composed


class ValidatesAs(L.Callback):
    """Makes the validation after a step come out as told, before anybody else reads it."""

    def __init__(self, losses: dict[int, float]) -> None:
        self.losses = losses

    def on_validation_end(self, trainer: Any, *_: Any) -> None:
        trainer.latest["val/loss"] = self.losses[trainer.global_step]


def fitted_with(config: dict, losses: dict[int, float], **trainer: Any) -> Run:
    config["trainer"].update(max_steps=max(losses), **trainer)
    composed = compose(config)
    composed.trainer.callbacks.insert(0, ValidatesAs(losses))
    return composed.fit()


def steps_of(run: Run) -> list[int]:
    return [checkpoint.step for checkpoint in run.checkpoints()]


# -- which stay -----------------------------------------------------------------------------------


def test_the_newest_and_the_best_stay_and_no_others(config: dict) -> None:
    losses = {1: 5.0, 2: 2.0, 3: 4.0, 4: 3.0, 5: 6.0, 6: 7.0}
    run = fitted_with(config, losses, val_every_steps=1, keep_best=2)
    assert steps_of(run) == [2, 4, 6]
    assert sorted(p.name for p in run.checkpoints_folder.iterdir()) == [
        "step-000002",
        "step-000004",
        "step-000006",
    ]
    assert run.best("val/loss").step == 2
    assert run.last().step == 6


def test_without_best_ones_only_the_newest_stays(config: dict) -> None:
    run = fitted_with(config, {2: 1.0, 4: 2.0}, val_every_steps=2, keep_best=0)
    assert steps_of(run) == [4]


def test_checkpoints_have_an_interval_of_their_own(
    config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    original = module_under_test.replace_folder
    monkeypatch.setattr(
        module_under_test,
        "replace_folder",
        lambda temporary, final: (written.append(final.name), original(temporary, final)),
    )
    losses = {3: 1.0, 6: 2.0, 7: 3.0}  # the third is due, the sixth too, and the end
    fitted_with(config, losses, val_every_steps=3, checkpoint_every_steps=2)
    assert written == [f"step-00000{n}" for n in (2, 3, 4, 6, 7)]  # 3 is the best so far


def test_a_validation_between_two_checkpoints_writes_one_only_if_it_is_among_the_best(
    config: dict,
) -> None:
    losses = {1: 3.0, 2: 4.0, 3: 2.0, 4: 5.0}
    run = fitted_with(config, losses, val_every_steps=1, checkpoint_every_steps=4)
    assert steps_of(run) == [3, 4]


def test_a_checkpoint_tells_its_step_and_its_own_metrics(fitted: Composed) -> None:
    assert fitted.trainer.run is not None
    last = fitted.trainer.run.last()
    record = json.loads((last.path / "checkpoint.json").read_text())
    assert record["step"] == 6
    assert record["metrics"]["val/loss"] == fitted.trainer.latest["val/loss"]


# -- what is in one -------------------------------------------------------------------------------


def test_the_trainers_file_holds_plain_values_and_tensors_only(fitted: Composed) -> None:
    assert fitted.trainer.run is not None
    state = torch.load(fitted.trainer.run.last().trainer_file, weights_only=True)
    assert state["global_step"] == 6
    assert state["hyper_parameters"]["network"]["class_path"] == "roots.networks.Scratch"
    assert state["vocabulary"]["size"] == 300
    assert state["optimizer_states"]


def test_no_file_beside_the_trainers_is_pickled(fitted: Composed) -> None:
    assert fitted.trainer.run is not None
    folder = fitted.trainer.run.last().path
    files = {path.name for path in folder.iterdir()}
    assert files >= {"trainer.ckpt", "checkpoint.json", "config.json", "model.safetensors"}
    assert files >= {"tokenizer.json", "tokenizer_config.json"}
    pickles = [p.name for p in folder.iterdir() if zipfile.is_zipfile(p) or p.suffix == ".bin"]
    assert pickles == ["trainer.ckpt"]


def test_the_folder_opens_in_transformers_with_the_live_networks_logits(fitted: Composed) -> None:
    assert fitted.trainer.run is not None
    assert fitted.model.trainable is not None
    folder = fitted.trainer.run.last().path
    network = AutoModelForCausalLM.from_pretrained(folder).eval()
    live = fitted.model.trainable.network.eval()
    tokens = torch.arange(1, 33).view(2, 16)
    with torch.no_grad():
        torch.testing.assert_close(network(tokens).logits, live(tokens).logits, rtol=0, atol=0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.decode(tokenizer.encode("the cat sat")) == "the cat sat"


def test_the_module_loads_by_lightnings_own_call(fitted: Composed) -> None:
    assert fitted.trainer.run is not None
    assert fitted.model.trainable is not None
    file = fitted.trainer.run.last().trainer_file
    module = CausalLM.load_from_checkpoint(file, weights_only=True, map_location="cpu")
    assert module.trainable is not None
    assert module.settings == fitted.model.settings
    live = fitted.model.state_dict()
    loaded = module.state_dict()
    assert live.keys() == loaded.keys()
    assert all(torch.equal(live[name], loaded[name]) for name in live)


# -- when writing fails ---------------------------------------------------------------------------


def test_a_crash_while_writing_leaves_the_old_one_and_no_half_one(
    config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = module_under_test.write_folder

    def fails_at_step_six(network: Any, tokenizer: Any, folder: Path, weights: Any) -> None:
        original(network, tokenizer, folder, weights)
        if "step-000006" in folder.name:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(module_under_test, "write_folder", fails_at_step_six)
    composed = compose(config)
    with pytest.raises(OSError, match="No space left"):
        composed.fit()
    run = composed.trainer.run
    assert run is not None
    assert [path.name for path in run.checkpoints_folder.iterdir()] == ["step-000003"]
    assert torch.load(run.last().trainer_file, weights_only=True)["global_step"] == 3
