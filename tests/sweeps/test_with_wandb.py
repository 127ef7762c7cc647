"""The same sweep file with W&B's engine: what is registered, and what its agents start."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from wandb_files import offline_file
from wandb_server import ENTITY, PROJECT, SWEEP, WandbServer, wandb_server

from roots.cli import run as roots
from roots.errors import ConfigError
from roots.sweeps import Sweep, command, read_definition
from roots.sweeps.with_wandb import agent_command, wandb_file

STAND_IN = str(Path(__file__).with_name("stand_in.py"))
RATE = "model.optimizer.init_args.learning_rate"
ROWS = "data.sequences_per_step"


def content(**changes: Any) -> dict[str, Any]:
    optimizer = {"distribution": "log_uniform_values", "min": "1e-4", "max": 0.1}
    nested = {"optimizer": {"parameters": {"init_args.learning_rate": optimizer}}}
    return {
        "config": "run.yaml",
        "entity": ENTITY,
        "project": PROJECT,
        "name": "mine",
        "method": "bayes",
        "run_cap": 5,
        "early_terminate": {"type": "hyperband", "min_iter": 2},
        "metric": {"name": "val/loss"},
        "parameters": {"model": {"parameters": nested}, ROWS: {"values": [8, 16]}},
        **changes,
    }


def test_wandb_gets_the_file_in_its_own_terms() -> None:
    registered = wandb_file(read_definition(content(), base={}), n_trials=7)
    assert registered == {
        "entity": ENTITY,
        "project": PROJECT,
        "name": "mine",
        "program": "roots",
        "method": "bayes",
        "run_cap": 7,
        "early_terminate": {"type": "hyperband", "min_iter": 2},
        "metric": {"name": "val/loss", "goal": "minimize"},
        "parameters": {
            RATE: {"distribution": "log_uniform_values", "min": 1e-4, "max": 0.1},
            ROWS: {"values": [8, 16]},
        },
        "command": [
            *["${env}", "${interpreter}", "-m", "roots", "fit"],
            *["--config=run.yaml", "--name=mine", "--trainer.wandb=true"],
            *["--trainer.progress=false", "${args}"],
        ],
    }


def test_the_agents_command_can_be_pasted() -> None:
    assert agent_command("a/b/c") == ["wandb", "agent", "--forward-signals", "a/b/c"]


def test_what_wandbs_engine_does_not_do_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"seeds: W&B's engine has one run per trial"):
        wandb_file(read_definition(content(seeds=[1, 2]), base={}))
    with pytest.raises(ConfigError, match=r"draw_seed=3: W&B's engine draws by a seed of its own"):
        wandb_file(read_definition(content(draw_seed=3), base={}))
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text("name: x\n")
    Path("mine.yaml").write_text(yaml.safe_dump(content()))
    for flag in ("--storage=sqlite:///x.db", "--storage=journal.log", "--sweeps-dir=mine"):
        with pytest.raises(ConfigError, match="leave out --resume, --storage and --sweeps-dir"):
            roots(["sweep", "mine.yaml", "--wandb", flag])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--workers", "0"], "workers=0 and gpus_per_trial=0: set the first to 1 or more"),
        (["--workers", "-1", "--dry-run"], "workers=-1 and gpus_per_trial=0"),
        (["--gpus-per-trial", "-1"], "workers=1 and gpus_per_trial=-1: set the first to 1"),
        (["--gpus-per-trial", "2"], "need 2 GPUs, and 1 are visible here. Set fewer."),
        (["--trials", "-3"], "trials=-3 is negative. Set it to 1 or more."),
    ],
)
def test_numbers_that_cannot_be_are_refused_before_anything_is_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Sweep, "check", lambda self, **_: None)
    monkeypatch.setattr(command, "register", lambda *_: pytest.fail("it was registered"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    Path("run.yaml").write_text("name: x\n")
    Path("mine.yaml").write_text(yaml.safe_dump(content()))
    with pytest.raises(ConfigError, match=re.escape(words)):
        roots(["sweep", "mine.yaml", "--wandb", *flags])


@pytest.mark.parametrize("flag", ["--dry-run", "--workers=1"])
def test_a_secret_of_the_environment_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, flag: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Sweep, "check", lambda self, **_: None)
    Path("run.yaml").write_text("name: x\n")
    parameters = {"data.token": {"value": "sesame-open-8457"}, ROWS: {"values": [8, 16]}}
    Path("mine.yaml").write_text(yaml.safe_dump(content(parameters=parameters)))
    monkeypatch.setenv("SOME_TOKEN", "sesame-open-8457")
    with pytest.raises(ConfigError, match=r"secret environment variable, which W&B would be told"):
        roots(["sweep", "mine.yaml", "--wandb", flag])
    assert "sesame" not in capsys.readouterr().out
    monkeypatch.delenv("SOME_TOKEN")
    assert wandb_file(read_definition("mine.yaml"))["parameters"]["data.token"]


def test_a_dry_run_shows_what_would_be_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Sweep, "check", lambda self, **_: None)
    Path("run.yaml").write_text("name: x\n")
    Path("mine.yaml").write_text(yaml.safe_dump(content()))
    assert roots(["sweep", "mine.yaml", "--wandb", "--dry-run"]) == 0
    said = capsys.readouterr().out
    shown = said.removesuffix("\ndry run: nothing was registered\n")
    assert yaml.safe_load(shown) == wandb_file(read_definition("mine.yaml"))


def swept(
    code: str, folder: Path, server: WandbServer, **more: str
) -> subprocess.CompletedProcess[str]:
    """Runs Python in a folder, where W&B's client knows this server only."""
    environment = {
        **os.environ,
        "HOME": str(folder),
        "WANDB_BASE_URL": server.url,
        "WANDB_API_KEY": "0" * 40,
        "WANDB_DIR": str(folder),
        "WANDB_MODE": "online",
        **more,
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


@pytest.mark.slow
def test_a_sweep_is_registered_and_an_agent_runs_its_trials(tmp_path: Path) -> None:
    """The real client, in a process of its own, against a server on this machine."""
    (tmp_path / "run.yaml").write_text("name: x\n")
    command = ["${env}", "${interpreter}", STAND_IN, "${args}"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content(command=command)))
    code = (
        "import sys; from roots.sweeps import Sweep; Sweep.check = lambda self, **_: None;"
        "from roots.cli import run; sys.exit(run(['sweep', 'mine.yaml', '--wandb']))"
    )
    with wandb_server([{RATE: 0.01, ROWS: 8}, {RATE: 0.001, ROWS: 16}]) as server:
        done = swept(code, tmp_path, server)
    assert done.returncode == 0, done.stderr
    assert f"wandb agent --forward-signals {ENTITY}/{PROJECT}/{SWEEP}" in done.stdout
    registered = yaml.safe_load(server.registered["config"])
    assert registered["parameters"][RATE]["distribution"] == "log_uniform_values"
    assert (server.registered["entityName"], server.registered["projectName"]) == (ENTITY, PROJECT)
    runs = sorted((tmp_path / "runs/mine").iterdir())
    flags = [yaml.safe_load((run / "config.yaml").read_text())["flags"] for run in runs]
    assert [(f[RATE], f[ROWS], f["config"]) for f in flags] == [
        ("0.01", "8", "run.yaml"),
        ("0.001", "16", "run.yaml"),
    ]
    assert all(len((run / "metrics.csv").read_text().splitlines()) == 7 for run in runs)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_agents_trial_is_two_ranks_which_both_have_its_values(
    config: dict[str, Any], tmp_path: Path
) -> None:
    """The real client and agent start a real fit, whose first rank alone tracks (offline)."""
    config["trainer"] |= {
        "devices": 2,
        "strategy": "ddp",
        "runs_dir": "runs",
        "callbacks": [
            {"class_path": "rank_witness.RankWitness", "init_args": {"folder": str(tmp_path)}}
        ],
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    fit = ["${env}", "WANDB_MODE=offline", "${interpreter}", "-m", "roots", "fit", "${args}"]
    grid = {RATE: {"values": [2e-3, 1e-3]}, ROWS: {"values": [4, 8]}}
    said = content(method="grid", parameters=grid, command=fit)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(said))
    code = "import sys; from roots.cli import run; sys.exit(run(['sweep', 'mine.yaml', '--wandb']))"
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    with wandb_server([{RATE: 0.002, ROWS: 4}]) as server:
        done = swept(code, tmp_path, server, PYTHONPATH=os.pathsep.join(paths), OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr + done.stdout
    witnesses = sorted(tmp_path.glob("*-rank-*.json"))
    assert [json.loads(file.read_text()) for file in witnesses] == [
        {"rank": rank, "ranks": 2, "rate": 0.002, "rows": 4} for rank in (0, 1)
    ]
    (run,) = (tmp_path / "runs" / "mine").iterdir()
    twin = json.loads((run / "wandb.json").read_text())
    assert twin == {"id": "run0", "project": PROJECT}, "a resumed trial goes on as this W&B run"
    (tracked,) = tmp_path.rglob("offline-run-*")
    assert tracked.name.endswith("-run0")
    words = (b"WarmupCosine", b"sequences_per_step", b"val/bits_per_byte")
    kept = offline_file(tracked, *words)
    assert [word for word in words if word not in kept] == []
