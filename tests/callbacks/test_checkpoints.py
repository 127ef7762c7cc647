"""A checkpoint is whole or not there; the newest and the best stay."""

from __future__ import annotations

import hashlib
import json
import math
import os
import resource
import zipfile
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from ranks import run_ranks
from tiny import tiny_config
from transformers import AutoModelForCausalLM, AutoTokenizer

from roots.callbacks import checkpoints as module_under_test
from roots.errors import ConfigError, TrainingError
from roots.fit import compose
from roots.fit.compose import Composed, resumed
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


@pytest.mark.parametrize("mode", ["min", "max"])
def test_what_is_no_number_is_never_among_the_best(config: dict, mode: str) -> None:
    """The best ones are kept, and a validation that measured nothing writes none in between."""
    losses = {1: math.nan, 2: 2.0, 3: math.nan, 4: math.nan}
    run = fitted_with(config, losses, val_every_steps=1, monitor_mode=mode)
    assert steps_of(run) == [2, 4]
    assert run.best().step == 2


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


def test_one_is_on_the_disk_with_its_name_before_an_older_one_goes(
    config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss of power leaves what was synced; what was removed is gone."""
    done: list[int | str] = []  # inodes brought to the disk, and names given, in their order
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(descriptor: int) -> None:
        fsync(descriptor)
        done.append(os.fstat(descriptor).st_ino)

    def noted_rename(path: Path, target: Path) -> Path:
        done.append(target.name)
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    run = compose(config, {"trainer.val_every_steps": 0, "trainer.checkpoint_every_steps": 3}).fit()
    new = run.checkpoint_folder(6)
    named, old_goes = done.index(new.name), done.index(".step-000003")
    assert {path.stat().st_ino for path in (new, *new.rglob("*"))} <= set(done[:named])
    assert run.checkpoints_folder.stat().st_ino in done[named:old_goes]


# -- when writing fails ---------------------------------------------------------------------------


def test_a_crash_while_writing_leaves_the_old_one_and_no_half_one(
    config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = module_under_test.written_files

    def fails_at_step_six(folder: Path) -> list[str]:
        if "step-000006" in folder.name:
            raise ZeroDivisionError("a mistake of the program")
        return original(folder)

    monkeypatch.setattr(module_under_test, "written_files", fails_at_step_six)
    composed = compose(config)
    with pytest.raises(ZeroDivisionError, match="a mistake of the program"):
        composed.fit()
    run = composed.trainer.run
    assert run is not None
    assert [path.name for path in run.checkpoints_folder.iterdir()] == ["step-000003"]
    assert torch.load(run.last().trainer_file, weights_only=True)["global_step"] == 3


class SmallDisk(L.Callback):
    """Lets no file grow beyond a size in some steps: the system refuses to write, as a full disk.

    Args:
        steps: The steps, from 1, after which it is so.
        n_bytes: The size.
    """

    def __init__(self, steps: tuple[int, ...], n_bytes: int) -> None:
        self.steps = steps
        self.n_bytes = n_bytes
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        full = trainer.global_step + 1 in self.steps
        soft = self.n_bytes if full else self.before[0]
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, self.before[1]))

    def on_exception(self, *_: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)

    on_train_end = on_exception


@pytest.mark.parametrize("n_bytes", [20_000, 150_000])  # in trainer.ckpt, and in the weights
def test_a_full_disk_ends_the_run_with_the_old_checkpoint_whole(config: dict, n_bytes: int) -> None:
    composed = compose(config, {"trainer.max_steps": 9, "trainer.save_in_background": False})
    composed.trainer.callbacks.insert(0, SmallDisk((6,), n_bytes))
    with pytest.raises(TrainingError, match=r"checkpoint of step 6 could not be written") as ended:
        composed.fit()
    run = composed.trainer.run
    assert run is not None
    assert f"The last good checkpoint is {run.path}/checkpoints/step-000003" in str(ended.value)
    assert [path.name for path in run.checkpoints_folder.iterdir()] == ["step-000003"]
    assert run.last_intact()[0].step == 3
    on, _ = resumed(str(run.path), {}, ["--trainer.on_failed_save=go_on"])  # the cures
    assert on.fit().last().step == 9


def test_a_run_that_is_to_go_on_says_so_and_writes_the_next(
    config: dict, capsys: pytest.CaptureFixture
) -> None:
    overrides = {
        "trainer.max_steps": 9,
        "trainer.on_failed_save": "go_on",
        "trainer.progress": True,
        "trainer.save_in_background": False,
    }
    composed = compose(config, overrides)
    composed.trainer.callbacks.insert(0, SmallDisk((6,), 20_000))
    run = composed.fit()
    said = capsys.readouterr().err
    assert "The checkpoint of step 6 could not be written: " in said
    assert "Going on; the next one is tried when it is due." in said
    assert [c.step for c in run.checkpoints()][-1] == 9
    assert 6 not in [c.step for c in run.checkpoints()]


def test_the_last_checkpoint_of_a_run_must_be_written(config: dict) -> None:
    composed, small = compose(config, {"trainer.on_failed_save": "go_on"}), SmallDisk((6,), 20_000)
    small.on_train_end = lambda *_: None  # type: ignore[method-assign]
    composed.trainer.callbacks.insert(0, small)
    with pytest.raises(TrainingError, match=r"checkpoint of step 6 could not be written"):
        composed.fit()
    assert composed.trainer.run is not None
    assert composed.trainer.run.last().step == 3


def fails_on_the_first_rank(shards: Path, runs: Path) -> tuple[str, int]:
    composed = compose(tiny_config(shards, runs, max_steps=9, save_in_background=False))
    composed.trainer.callbacks.insert(0, SmallDisk((6,), 20_000))
    with pytest.raises(TrainingError) as ended:
        composed.fit()
    return str(ended.value), composed.trainer.global_step


def test_all_ranks_learn_that_the_first_could_not_write(shards: Path, tmp_path: Path) -> None:
    first, second = run_ranks(fails_on_the_first_rank, shards, tmp_path)
    assert first[1] == second[1] == 6
    assert "File too large" in first[0]
    assert "another rank failed" in second[0]


def test_another_thing_to_do_than_stop_and_go_on_is_refused(config: dict) -> None:
    with pytest.raises(ConfigError, match=r"no action 'goon' \(did you mean 'go_on'\?\).*or go_on"):
        compose(config, {"trainer.on_failed_save": "goon"})
    compose(config, {"trainer.on_failed_save": "go_on"})


# -- whether it is as it was written --------------------------------------------------------------


def test_the_record_has_the_sha256_of_every_file(fitted: Composed) -> None:
    assert fitted.trainer.run is not None
    checkpoint = fitted.trainer.run.last()
    files = {p.name for p in checkpoint.path.iterdir()} - {"checkpoint.json"}
    assert checkpoint.files.keys() == files
    for name, digest in checkpoint.files.items():
        assert hashlib.sha256((checkpoint.path / name).read_bytes()).hexdigest() == digest
    assert checkpoint.damage() == ""


def test_without_text_to_validate_on_checkpoints_come_as_often_as_validations_would(
    config: dict[str, Any],
) -> None:
    config["trainer"].update(max_steps=5, val_every_steps=2, keep_best=9)
    composed = compose(config)
    composed.trainer.limit_val_batches = 0
    seen: list[int] = []

    class Looks(L.Callback):
        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            trainer.checkpoints.settle(trainer)
            seen.extend(steps_of(trainer.run))

    composed.trainer.callbacks.insert(0, Looks())
    run = composed.fit()
    assert {*seen} == {2, 4}
    assert run.last().step == 5
