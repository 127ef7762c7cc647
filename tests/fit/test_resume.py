"""A run that was interrupted is the run that was not."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_ranks
from tiny import tiny_config
from torch.optim import Optimizer

from roots.cli import run as roots
from roots.errors import CheckpointError, ConfigError
from roots.fit import compose
from roots.fit.compose import resumed
from roots.modules import CausalLM
from roots.runs import Run, state_of
from roots.runs.lock import LOCK_FILE
from roots.shards import ShardFolder

pytestmark = pytest.mark.heavy

STEPS = 20


def rows_of(run: Run) -> list[dict[str, str]]:
    with run.metrics_file.open() as file:
        return list(csv.DictReader(file))


def numbers(rows: list[dict[str, str]]) -> list[tuple[str, ...]]:
    """What must be equal bit by bit: everything that is not a time."""
    names = ("step", "train/loss", "optim/grad_norm", "optim/learning_rate", "val/loss")
    return [tuple(row[name] for name in names) for row in rows]


def long_config(shards: Path, runs: Path) -> dict[str, Any]:
    config = tiny_config(shards, runs, max_steps=STEPS, val_every_steps=4, checkpoint_every_steps=3)
    config["trainer"]["keep_best"] = 2
    return config


@pytest.fixture(scope="module")
def whole(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, ...]]:
    """The numbers of the run that nobody interrupts."""
    run = compose(long_config(shards, tmp_path_factory.mktemp("whole"))).fit()
    return numbers(rows_of(run))


def interrupted(config: dict[str, Any], after: int) -> Run:
    """A run that got to step `after`, with its last checkpoint there or before."""

    import lightning as L

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


@pytest.mark.parametrize("after", [3, 4, 5, 8, 12, 17])
def test_resuming_gives_bitwise_the_uninterrupted_run(
    shards: Path, tmp_path: Path, whole: list, after: int
) -> None:
    run = interrupted(long_config(shards, tmp_path), after)
    composed, changes = resumed(str(run.path), {}, [])
    assert changes == []
    assert composed.fit().path == run.path
    assert numbers(rows_of(run)) == whole


def test_dropout_resumes_bitwise_too(shards: Path, tmp_path: Path) -> None:
    def dropped(folder: Path) -> dict[str, Any]:
        config = long_config(shards, folder)
        network = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
        config["model"]["init_args"]["network"]["init_args"]["config"] = network
        return config

    undisturbed = numbers(rows_of(compose(dropped(tmp_path / "a")).fit()))
    run = interrupted(dropped(tmp_path / "b"), 8)
    resumed(str(run.path), {}, [])[0].fit()
    assert numbers(rows_of(run)) == undisturbed


def test_what_a_kill_left_half_written_is_swept(shards: Path, tmp_path: Path) -> None:
    run = interrupted(long_config(shards, tmp_path), 8)
    (run.checkpoints_folder / ".step-000009.abc").mkdir()
    resumed(str(run.path), {}, [])[0].fit()
    assert not list(run.checkpoints_folder.glob(".*"))


def test_a_checkpoint_loads_as_plain_values(shards: Path, tmp_path: Path) -> None:
    run = compose(tiny_config(shards, tmp_path)).fit()
    checkpoint = torch.load(run.last().trainer_file, weights_only=True)
    assert checkpoint["global_step"] == 6


def close(rows: list[tuple[str, ...]], expected: list[tuple[str, ...]]) -> None:
    assert [row[0] for row in rows] == [row[0] for row in expected]
    for column in (1, 2):
        ours = torch.tensor([float(row[column]) for row in rows], dtype=torch.float64)
        theirs = torch.tensor([float(row[column]) for row in expected], dtype=torch.float64)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)


def test_resuming_with_another_micro_batch_size_stays_within_1e5(
    shards: Path, tmp_path: Path, whole: list
) -> None:
    run = interrupted(long_config(shards, tmp_path), 8)
    composed, changes = resumed(str(run.path), {}, ["--model.micro_batch_size", "3"])
    assert changes == ["model.init_args.micro_batch_size: 4 → 3"]
    composed.fit()
    close(numbers(rows_of(run)), whole)


def resume_here(path: str) -> None:
    resumed(path, {}, [])[0].fit()


def test_resuming_as_two_ranks_stays_within_1e5(shards: Path, tmp_path: Path, whole: list) -> None:
    run = interrupted(long_config(shards, tmp_path), 8)
    run_ranks(resume_here, str(run.path))
    close(numbers(rows_of(run)), whole)


def test_flags_win_over_the_checkpoint(shards: Path, tmp_path: Path) -> None:
    run = interrupted(long_config(shards, tmp_path), 8)
    flags = [
        "--model.optimizer.learning_rate=0.001",
        "--model.optimizer.weight_decay=0.3",
        "--trainer.max_steps=30",
    ]
    composed, changes = resumed(str(run.path), {}, flags)
    assert changes == [
        "model.init_args.optimizer.init_args.learning_rate: 0.003 → 0.001",
        "model.init_args.optimizer.init_args.weight_decay: 0.1 → 0.3",
        "trainer.max_steps: 20 → 30",
    ]
    before = run.config_file.read_text()
    composed.fit()
    assert (run.path / "config-until-000008.yaml").read_text() == before
    rows = rows_of(run)
    assert rows[-1]["step"] == "30"
    assert max(float(row["optim/learning_rate"]) for row in rows[9:]) < 0.001
    decays = {g["name"]: g["weight_decay"] for g in composed.trainer.optimizers[0].param_groups}
    assert decays == {"decayed": 0.3, "undecayed": 0.0}


@pytest.mark.parametrize(
    ("flag", "named"),
    [
        ("--model.network.config.hidden_size=64", r"hidden_size: 32 → 64"),
        ("--data.seq_len=8", r"seq_len: 16 → 8"),
        ("--data.sequences_per_step=4", r"sequences_per_step: 8 → 4"),
        ("--seed=2", r"cannot change seed: 1 → 2.* which text is behind us"),
    ],
)
def test_a_changed_shape_is_refused(shards: Path, tmp_path: Path, flag: str, named: str) -> None:
    run = compose(tiny_config(shards, tmp_path)).fit()
    with pytest.raises(CheckpointError, match=named):
        resumed(str(run.path), {}, [flag])


def test_other_data_is_refused(shards: Path, tmp_path: Path) -> None:
    copy = tmp_path / "shards"
    shutil.copytree(shards, copy)
    run = compose(tiny_config(copy, tmp_path)).fit()
    manifest = copy / "manifest.json"
    text = manifest.read_text()
    told = json.loads(text)
    file = told["splits"]["train"]["files"][0]
    manifest.write_text(text.replace(file["sha256"], "e" * 64))
    before, now = (ShardFolder.open(each).fingerprint[:12] for each in (shards, copy))
    with pytest.raises(CheckpointError, match=rf"are not those that .*{now}, then {before}\)"):
        resumed(str(run.path), {}, [])
    manifest.write_text(text)
    resumed(str(run.path), {}, [])


def test_the_same_tokens_made_of_another_folder_are_the_same_data(
    shards: Path, tmp_path: Path
) -> None:
    run = interrupted(long_config(shards, tmp_path), 8)
    moved = tmp_path / "moved"
    shutil.copytree(shards, moved)
    manifest = moved / "manifest.json"
    told = json.loads(manifest.read_text())
    told["recipe"]["source"] = {"init_args": {"paths": ["/elsewhere"]}}
    told["roots_version"] = "9.9"
    manifest.write_text(json.dumps(told))
    _, changes = resumed(str(run.path), {}, [f"--data.shards={moved}"])
    assert [change.split(":")[0] for change in changes] == ["data.init_args.shards"]


def test_auto_goes_on_with_the_newest_run_of_the_name(shards: Path, tmp_path: Path) -> None:
    config = tiny_config(shards, tmp_path)
    compose(config).fit()
    newest = interrupted(long_config(shards, tmp_path), 8)
    composed, _ = resumed("auto", config, ["--trainer.max_steps=12"])
    assert composed.trainer.resumed_from == 8
    assert composed.fit().path == newest.path


def test_auto_without_a_run_is_an_error(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no run in .*tiny to resume.*without --resume"):
        resumed("auto", tiny_config(shards, tmp_path), [])


def test_a_run_without_a_checkpoint_is_an_error(shards: Path, tmp_path: Path) -> None:
    run = interrupted(long_config(shards, tmp_path), 1)
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        resumed(str(run.path), {}, [])


def test_a_complete_run_says_how_to_train_on(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = compose(tiny_config(shards, tmp_path)).fit()
    before = numbers(rows_of(run))
    assert roots(["fit", "--resume", str(run.path)]) == 0
    assert "has all its 6 steps already" in capsys.readouterr().out
    assert numbers(rows_of(run)) == before


def test_a_run_whose_checkpoint_cannot_be_loaded_stays_as_it_was(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = interrupted(long_config(shards, tmp_path), 8)
    (run.checkpoints_folder / ".step-000009").mkdir()
    with run.metrics_file.open("a") as file:
        file.write("9" + "," * run.metrics_file.read_text().splitlines()[0].count(",") + "\n")
    before = files_of(run)
    flags = ["--trainer.max_steps=30"]
    for owner, name in ((CausalLM, "on_load_checkpoint"), (Optimizer, "load_state_dict")):
        with monkeypatch.context() as broken:
            broken.setattr(owner, name, cannot_be_loaded)
            with pytest.raises(CheckpointError, match="of other shapes"):
                resumed(str(run.path), {}, flags)[0].fit()
        assert files_of(run) == before
    resumed(str(run.path), {}, flags)[0].fit()
    after = files_of(run)
    assert after["config-until-000008.yaml"] == before["config.yaml"] != after["config.yaml"]
    assert state_of(run).state == "finished"


def cannot_be_loaded(*_: Any, **__: Any) -> None:
    raise CheckpointError("It has weights of other shapes.")


def files_of(run: Run) -> dict[str, bytes]:
    files = [file for file in run.path.rglob("*") if file.is_file() and file.name != LOCK_FILE]
    folders = {str(f.relative_to(run.path)): b"" for f in run.path.rglob("*") if f.is_dir()}
    return folders | {str(file.relative_to(run.path)): file.read_bytes() for file in files}


def test_a_schedule_that_does_not_fit_is_refused_before_anything_is_written(
    shards: Path, tmp_path: Path
) -> None:
    run = interrupted(long_config(shards, tmp_path), 8)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=r"warmup_steps=50 does not end before the run's 20"):
        resumed(str(run.path), {}, ["--model.schedule.warmup_steps=50"])
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_the_settings_of_a_first_part_outlive_two_changes_from_the_same_step(
    shards: Path, tmp_path: Path
) -> None:
    run = interrupted(long_config(shards, tmp_path), 8)
    first = run.config_file.read_text()
    for rate in ("0.002", "0.001"):

        class Killed(Exception):
            pass

        def kill(*_: object, killed: type[Exception] = Killed) -> None:
            raise killed

        again, _ = resumed(str(run.path), {}, [f"--model.optimizer.learning_rate={rate}"])
        again.model.on_train_batch_start = kill
        with pytest.raises(Killed):
            again.fit()
    assert (run.path / "config-until-000008.yaml").read_text() == first


def test_a_run_that_went_on_meanwhile_is_not_resumed_from_before(
    shards: Path, tmp_path: Path
) -> None:
    run = interrupted(long_config(shards, tmp_path), 8)
    slow, _ = resumed(str(run.path), {}, [])
    resumed(str(run.path), {}, ["--trainer.max_steps=10"])[0].fit()
    rows = run.metrics_file.read_text()
    with pytest.raises(CheckpointError, match=r"went on to step-000010 .* from step 8\. Resume it"):
        slow.fit()
    assert run.metrics_file.read_text() == rows
    again, _ = resumed(str(run.path), {}, ["--trainer.max_steps=20"])
    assert again.fit().last().step == 20
