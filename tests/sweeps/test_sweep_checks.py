"""What is refused before the first trial, by the parser of `roots fit` itself."""

from __future__ import annotations

import copy
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_sweeps import STAND_IN

from roots.cli import run as roots
from roots.errors import CheckpointError, ConfigError, DataError
from roots.fit.compose import put_together
from roots.modules import CausalLM
from roots.sweeps import Sweep, open_sweep, read_definition, read_sweep
from roots.sweeps.checks import flag, logged_metrics
from roots.sweeps.places import environment_of, n_cores

RATE = "model.optimizer.init_args.learning_rate"
GOOD = {RATE: {"min": 1e-4, "max": 1e-2}}


class OwnParts(CausalLM):
    """A module of somebody's own, whose loss may have parts."""


def sweep_of(config: dict[str, Any], **changes: Any) -> Sweep:
    content = {
        "config": "run.yaml",
        "method": "random",
        "run_cap": 4,
        "parameters": GOOD,
        **changes,
    }
    return Sweep(read_definition(content, base=config))


def test_every_spelling_that_a_flag_may_have_is_a_parameter(config: dict[str, Any]) -> None:
    sweep_of(
        config,
        parameters={
            "model.init_args.optimizer.init_args.learning_rate": {"min": 1e-4, "max": 1e-2},
            "model.schedule.warmup_steps": {"values": [0, 2]},
            "data.sequences_per_step": {"values": [8, 16]},
            "model.network.init_args.config.hidden_size": {"values": [32, 64]},
            "trainer.max_steps": {"value": 8},
        },
        metric={"name": "val/bits_per_byte"},
        early_terminate={"type": "hyperband", "min_iter": 3},
    ).check()


def test_parameters_are_tried_together_and_not_each_with_the_run_files_own(
    config: dict[str, Any],
) -> None:
    """Two steps are too few for the run file's own warm-up, and enough for the sweep's."""
    both = {"trainer.max_steps": {"value": 2}, "model.schedule.warmup_steps": {"values": [0, 1]}}
    sweep_of(config, parameters=both).check()


WRONG = [
    (
        {"parameters": {**GOOD, "model.schedule.warmup_steps": {"values": [2, 6]}}},
        "parameters.model.schedule.warmup_steps: 6 cannot be run. warmup_steps=6 does not end"
        " before the run's 6 steps do. Set warmup_steps to at most 5",
    ),
    ({"parameters": {"model.optimizer.init_args.learning_rat": {"min": 0.1, "max": 0.2}}},
     "parameters.model.optimizer.init_args.learning_rat is no setting of this run (did you mean"
     " 'model.init_args.optimizer.init_args.learning_rate'?)"),
    ({"parameters": {**GOOD, "trainer.max_stps": {"values": [1, 2]}}},
     "parameters.trainer.max_stps is no setting of this run (did you mean 'trainer.max_steps'?)"),
    ({"parameters": {"learning_rate": {"min": 0.1, "max": 0.2}}},
     "parameters.learning_rate is no setting of this run"),
    ({"parameters": {"data.sequences_per_step": {"min": 8.0, "max": 16.5}}},
     "parameters.data.sequences_per_step: 8.0 cannot be run"),
    ({"parameters": {"data.sequences_per_step": {"values": [8, 0]}}},
     "parameters.data.sequences_per_step: 0 cannot be run. sequences_per_step=0 is too small"),
    ({"parameters": {RATE: {"distribution": "normal"}}}, "is negative. Set it to 0 or more."),
    ({"parameters": {"trainer.precision": {"values": ["32", "8-bit"]}}},
     "parameters.trainer.precision: 8-bit cannot be run"),
    ({"metric": {"name": "val/los"}},
     "metric.name='val/los' is never logged by this run (did you mean 'val/loss'?)"),
    ({"metric": {"name": "accuracy"}}, "It logs optim/grad_norm, optim/learning_rate, train/loss"),
    ({"early_terminate": {"type": "hyperband", "min_iter": 3}},
     "looks first at value 3 of val/loss, and a trial has 2. Set a smaller min_iter, or a smaller"
     " trainer.val_every_steps."),
    ({"seeds": [1, 2], "early_terminate": {"type": "hyperband", "min_iter": 3}},
     "a trial has 2. Set a smaller min_iter, or more seeds."),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "words"), WRONG)
def test_what_no_trial_could_run(
    config: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        sweep_of(config, **changes).check()


def test_an_early_end_by_a_training_metric_counts_what_a_real_run_reports(
    config: dict[str, Any],
) -> None:
    from roots.runs import read_metrics

    config["trainer"] |= {"max_steps": 6, "log_every_steps": 4}
    rows = read_metrics(put_together(config, []).fit().metrics_file)
    n = sum(row["train/loss"] != "" for row in rows)
    assert n == 3, "of steps 1, 4 and 6"
    early = {"type": "hyperband", "min_iter": n + 1}
    sweep = sweep_of(config, metric={"name": "train/loss"}, early_terminate=early)
    with pytest.raises(ConfigError, match=r"a trial has 3\. .* smaller trainer\.log_every_steps"):
        sweep.check()
    early["min_iter"] = n
    sweep_of(config, metric={"name": "train/loss"}, early_terminate=early).check()


def test_missing_data_are_told_before_the_first_trial(config: dict[str, Any]) -> None:
    config["data"]["init_args"]["shards"] = "/nowhere/at/all"
    with pytest.raises(DataError, match="There are no data in /nowhere/at/all"):
        sweep_of(config).check()


def test_the_names_of_the_metrics_are_those_of_a_real_run(config: dict[str, Any]) -> None:
    from roots.runs import read_metrics

    composed = put_together(config, [])
    names = logged_metrics(composed)
    run = composed.fit()
    logged = {name for row in read_metrics(run.metrics_file) for name in row} - {"step"}
    assert names <= logged
    assert {name for name in logged if name.startswith("val/")} <= names
    own = copy.deepcopy(config)
    own["model"]["class_path"] = f"{__name__}.OwnParts"
    assert logged_metrics(put_together(own, [])) == set(), "so may a module of one's own"
    sweep_of(own, metric={"name": "val/aux", "goal": "minimize"}).check()
    config["trainer"]["callbacks"] = [{"class_path": "roots.callbacks.LossSpikes"}]
    assert logged_metrics(put_together(config, [])) == set(), "a callback may log any"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-05, "--x=1.0e-05"),
        (0.1 + 0.2, "--x=0.30000000000000004"),
        (16, "--x=16"),
        (True, "--x=true"),
        (None, "--x=null"),
        ("bf16-mixed", "--x=bf16-mixed"),
        ([1, 2], "--x=[1, 2]"),
        ({"class_path": "a.B"}, "--x={class_path: a.B}"),
    ],
)
def test_values_are_written_as_the_parser_reads_them(value: Any, text: str) -> None:
    assert flag("x", value) == text
    if not isinstance(value, str):
        assert yaml.safe_load(text.removeprefix("--x=")) == value


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture
def sweep_file(config: dict[str, Any], tmp_path: Path) -> Path:
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    file = tmp_path / "mine.yaml"
    content = {"config": "run.yaml", "method": "random", "run_cap": 5, "parameters": GOOD}
    file.write_text(yaml.safe_dump({**content, "seeds": [1, 2]}))
    return file


def test_a_dry_run_shows_commands_that_fit_understands_and_writes_nothing(
    sweep_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    before = sorted(tmp_path.iterdir())
    assert roots(["sweep", str(sweep_file), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "mine: 5 trials (random), 10 runs with 2 seeds each" in said
    assert "nothing was trained or written" in said
    commands = [line for line in said.splitlines() if "-m roots fit" in line]
    assert len(commands) == 3
    assert len(set(commands)) == 3
    words = commands[0].split()
    assert words[:4] == [sys.executable, "-m", "roots", "fit"]
    assert roots([*words[3:], "--dry-run"]) == 0
    assert "trial-0001-seed-1" in capsys.readouterr().out
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "Give one of a sweep file and --resume DIR."),
        (["FILE", "--resume", "somewhere"], "Give one of a sweep file and --resume DIR."),
        (
            ["--resume", "here", "--sweeps-dir", "there"],
            "--sweeps-dir there is that of a new sweep",
        ),
        (["--resume", "here", "--folds", "3"], "--folds 3 is that of a new sweep. Leave it out"),
        (["--resume", "here", "--dry-run"], "that of --resume has begun. Give the sweep file, or"),
        (["FILE", "--dry-run", "--workers", "0"], "workers=0 and gpus_per_trial=0: set the first"),
        (["FILE", "--wrokers", "2"], "Unrecognized arguments: --wrokers"),
        (["FILE", "--workers", "0"], "workers=0 and gpus_per_trial=0: set the first to 1"),
        (["FILE", "--trials", "-1"], "trials=-1 is negative"),
        (["FILE", "--storage", "letters://nobody:secret@nowhere/x"], "(letters) cannot be"),
        (["nowhere.yaml"], "There is no sweep file nowhere.yaml"),
    ],
)
def test_what_the_command_refuses(sweep_file: Path, args: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)) as refused:
        roots(["sweep", *(str(sweep_file) if a == "FILE" else a for a in args)])
    assert refused.value.exit_code == 2
    assert "secret" not in str(refused.value)


def test_a_sweep_does_not_go_on_with_a_corpus_that_was_made_anew(
    config: dict[str, Any], shards: Path, masked_shards: Path, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus"
    config["data"]["init_args"]["shards"] = str(corpus)
    command = ["${interpreter}", STAND_IN, "${args}"]
    definition = sweep_of(config, command=command).definition
    shutil.copytree(shards, corpus)
    Sweep(definition, sweeps_dir=tmp_path).run(trials=1, say=lambda line: None)
    folder = tmp_path / "sweep/0001"
    shutil.rmtree(corpus)
    shutil.copytree(masked_shards, corpus)
    with pytest.raises(CheckpointError, match=r"sweep/0001 began with \(fingerprint \w{12}, then"):
        open_sweep(folder).run(trials=2, say=lambda line: None)
    assert len(open_sweep(folder).trials()) == 1
    shutil.rmtree(corpus)
    shutil.copytree(shards, corpus)  # the cure
    open_sweep(folder).run(trials=2, say=lambda line: None)
    assert len(open_sweep(folder).trials()) == 2


def test_directories_that_are_no_sweeps(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="gone does not exist"):
        open_sweep(tmp_path / "gone")
    with pytest.raises(CheckpointError, match=r"is no sweep's directory \(no sweep\.yaml\)"):
        roots(["sweep", "report", str(tmp_path)])
    with pytest.raises(ConfigError, match="has not been run yet"):
        _ = sweep_of({}).study


@pytest.mark.parametrize("secret", ["very-secret-value", "it's: a secret"])  # YAML quotes one
def test_a_secret_in_a_run_file_does_not_come_into_the_sweeps_directory(
    sweep_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("SOME_TOKEN", secret)
    monkeypatch.setattr(Sweep, "check", lambda self, **_: None)
    run = tmp_path / "run.yaml"
    run.write_text(run.read_text().replace("name: tiny", f'name: "{secret}"'))
    with pytest.raises(ConfigError, match="hold the value of a secret environment variable"):
        read_sweep(sweep_file, sweeps_dir=tmp_path / "sweeps").run()
    assert not (tmp_path / "sweeps").exists()


# -- places ---------------------------------------------------------------------------------------


def test_each_place_has_its_gpus_and_its_share_of_the_cores() -> None:
    given = {"CUDA_VISIBLE_DEVICES": "2,3,5,7"}
    places = [environment_of(place, 2, 2, given) for place in range(2)]
    assert [place["CUDA_VISIBLE_DEVICES"] for place in places] == ["2,3", "5,7"]
    assert places[0]["OMP_NUM_THREADS"] == str(max(1, n_cores() // 2))
    assert environment_of(0, 2, 0, given)["CUDA_VISIBLE_DEVICES"] == "2,3,5,7"
    assert environment_of(0, 64, 0, {"OMP_NUM_THREADS": "3"})["OMP_NUM_THREADS"] == "3"
    assert environment_of(0, 64, 0, {})["OMP_NUM_THREADS"] == "1"


def test_more_gpus_than_there_are_is_refused() -> None:
    words = "--workers 2 with --gpus-per-trial 2 need 4 GPUs, and 3 are visible here. Set fewer."
    with pytest.raises(ConfigError, match=re.escape(words)):
        environment_of(0, 2, 2, {"CUDA_VISIBLE_DEVICES": "0,1,2"})
    with pytest.raises(ConfigError, match="and 0 are visible"):
        environment_of(0, 1, 1, {"CUDA_VISIBLE_DEVICES": ""})
