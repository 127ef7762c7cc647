"""Two machines of one process each, on one machine: as torchrun and as SLURM's srun start them."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from roots.errors import ConfigError
from roots.fit import compose
from roots.fit.devices import resolve_devices
from roots.strategies.launching import ScriptLauncher

LAUNCH = Path(__file__).parents[2] / "configs" / "launch"


def losses(run: Path) -> list[float]:
    with (run / "metrics.csv").open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def torchrun(rank: int, port: str) -> tuple[list[str], dict[str, str]]:
    machine = {"NODES": "2", "NODE_RANK": str(rank), "HEAD": "127.0.0.1", "PORT": port}
    return [str(LAUNCH / "torchrun.sh")], {**machine, "PROCESSES": "1", "PYTHON": sys.executable}


def srun(rank: int, port: str) -> tuple[list[str], dict[str, str]]:
    """What srun would start on machine `rank`, and what it tells it."""
    told = {
        "SLURM_JOB_ID": "417",
        "SLURM_JOB_NAME": "roots",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_NNODES": "2",
        "SLURM_NODELIST": "127.0.0.1",
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": str(rank),
        "MASTER_PORT": port,
    }
    return [sys.executable, "-m", "roots", "fit"], told


@pytest.mark.slow
@pytest.mark.parametrize("start", [torchrun, srun])
def test_two_machines_follow_the_losses_of_one_process(
    start: Callable[[int, str], tuple[list[str], dict[str, str]]], config: dict, tmp_path: Path
) -> None:
    alone = compose(config, {"trainer.log_every_steps": 1}).fit().path
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(config))
    port = free_port()
    flags = ["--config", str(file), "--trainer.log_every_steps", "1", "--name", "two"]
    machines = []
    for rank in (0, 1):
        command, told = start(rank, port)
        environment = {**os.environ, **told, "OMP_NUM_THREADS": "1"}
        machines.append(
            subprocess.Popen(
                [*command, *flags],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    try:
        said = [machine.communicate(timeout=240)[0] for machine in machines]
    finally:
        for machine in machines:
            machine.kill()
    assert [machine.returncode for machine in machines] == [0, 0], said
    together = alone.parent.parent / "two" / "0001"
    torch.testing.assert_close(losses(together), losses(alone), rtol=1e-5, atol=1e-5)
    hardware = json.loads((together / "environment.json").read_text())["hardware"]
    assert (hardware["ranks"], hardware["machines"]) == (2, 2)


def test_machines_and_processes_are_those_of_srun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in srun(1, "1")[1].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_NTASKS", "8")
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")
    assert resolve_devices("cpu", "auto", 1) == (torch.device("cpu"), 4, 2)


def test_machines_that_srun_starts_are_told_where_the_first_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in srun(1, "1")[1].items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)  # SLURM_NODELIST says it
    launcher = ScriptLauncher(SLURMEnvironment(), num_processes=1, num_nodes=2)
    assert launcher.launch(lambda: "trained") == "trained"


def test_srun_that_was_not_told_of_the_processes_per_machine_is_refused_with_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in srun(0, "1")[1].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_NTASKS", "8")
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    with pytest.raises(ConfigError) as refused:
        resolve_devices("cpu", "auto", 1)
    assert "SLURM starts 8 processes on 2 machines with 1 on each" in str(refused.value)
    assert "--ntasks-per-node" in str(refused.value)
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")  # the cure
    assert resolve_devices("cpu", "auto", 1)[1:] == (4, 2)


def test_a_shell_in_an_interactive_job_is_no_srun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in srun(0, "1")[1].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_JOB_NAME", "interactive")
    assert resolve_devices("cpu", 1, 1)[1:] == (1, 1)


def test_the_scripts_are_shell_and_name_what_is_missing() -> None:
    for script in LAUNCH.iterdir():
        subprocess.run(["bash", "-n", str(script)], check=True)
    bare = {"PATH": os.environ["PATH"]}
    said = subprocess.run(
        [str(LAUNCH / "torchrun.sh")], env=bare, capture_output=True, text=True, check=False
    )
    assert said.returncode
    assert "NODES: set it to the number of machines" in said.stderr
