"""Every objective, killed in the middle of an epoch: it ends bitwise where the quiet run ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from every_objective import OBJECTIVES, every_objective
from fit.test_fault_injection import PATIENCE, killed, numbers, start, steps_written
from safetensors.torch import load_file

from roots.runs import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STEPS, EVERY, KILLED_AFTER = 10, 2, 5
"""The labelled rows have seven steps to an epoch, and the last checkpoint is one step old."""
SETTINGS = {
    "max_steps": STEPS,
    "max_epochs": 0,
    "val_every_steps": 4,
    "val_every_epochs": 0,
    "log_every_steps": 1,
    "checkpoint_every_steps": EVERY,
    "deterministic": True,
}


@pytest.fixture(scope="module")
def configs(masked_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return every_objective(tmp_path_factory.mktemp("objectives"), masked_shards)


def written(config: dict[str, Any], folder: Path) -> tuple[list[str], Run]:
    """Writes the run file; gives the command's arguments, and the run that it will make."""
    folder.mkdir()
    trainer = {**config["trainer"], **SETTINGS, "runs_dir": str(folder)}
    (folder / "run.yaml").write_text(yaml.safe_dump({**config, "trainer": trainer}))
    return ["--config", str(folder / "run.yaml")], Run(folder / config["name"] / "0001")


def fitted(arguments: list[str]) -> None:
    process = start(arguments)
    process.join(PATIENCE)
    assert process.exitcode == 0


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_kill_in_the_middle_of_an_epoch_changes_nothing(
    configs: dict[str, Any], tmp_path: Path, name: str
) -> None:
    arguments, quiet = written(configs[name], tmp_path / "quiet")
    fitted(arguments)
    arguments, run = written(configs[name], tmp_path / "killed")
    assert killed(arguments, lambda: steps_written(run) >= KILLED_AFTER, 0.0)
    assert 0 < run.last().step < STEPS
    fitted(["--resume", str(run.path)])
    assert [row[0] for row in numbers(run)] == [str(step) for step in range(1, STEPS + 1)]
    assert numbers(run) == numbers(quiet)
    ours, theirs = (load_file(each.last().path / "model.safetensors") for each in (run, quiet))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    ours, theirs = (
        torch.load(each.last().trainer_file, weights_only=True)["optimizer_states"][0]["state"]
        for each in (run, quiet)
    )
    for number, state in theirs.items():
        for key, value in state.items():
            assert torch.equal(ours[number][key], value), (number, key)
