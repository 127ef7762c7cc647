"""A run that began with a network of a folder goes on when that folder has moved."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import LLAMA
from transformers import AutoConfig, AutoModelForCausalLM

import roots
from roots.errors import CheckpointError, DataError
from roots.fit import compose
from roots.runs import Run, load_metrics


def written(folder: Path, *, seed: int = 3, **keys: Any) -> Path:
    """A network whose weights tell the seed."""
    torch.manual_seed(seed)
    network = AutoConfig.for_model(**{**LLAMA, "vocab_size": 300, **keys})
    AutoModelForCausalLM.from_config(network).save_pretrained(folder)
    return folder


def begun_with(folder: Path, config: dict[str, Any], **more: Any) -> Run:
    arguments = {"path": str(folder), "attention": "sdpa", **more}
    network = {"class_path": "roots.networks.Pretrained", "init_args": arguments}
    config["model"]["init_args"]["network"] = network
    return compose(config, {"trainer.max_steps": 3}).fit()


def gone_on(run: Run, **changes: Any) -> list[float]:
    """Goes on for a step; gives all losses."""
    roots.resume(run.path, {"trainer.max_steps": 4, **changes}).fit()
    return [row["train/loss"] for row in load_metrics(run.metrics_file).rows.values()]


def copy_of(run: Run, name: str) -> Run:
    return Run(shutil.copytree(run.path, run.path.with_name(name)))


def test_a_run_goes_on_when_the_folder_of_its_network_has_moved(
    config: dict[str, Any], tmp_path: Path
) -> None:
    base = written(tmp_path / "base")
    run = begun_with(base, config)
    copies = [copy_of(run, f"000{number}") for number in (2, 3, 4)]
    whole = gone_on(run)
    moved = shutil.move(base, tmp_path / "moved")
    place = "model.network.path"
    with pytest.raises(DataError, match=r"no folder .*base\. .* has moved, .* by its new path"):
        gone_on(copies[0])
    assert gone_on(copies[0], **{place: str(moved)}) == whole
    others = written(tmp_path / "others", seed=4)  # the checkpoint has the weights
    assert gone_on(copies[1], **{place: str(others)}) == whole
    another = written(tmp_path / "another", rms_norm_eps=1e-3)
    with pytest.raises(CheckpointError, match=r"another .* rms_norm_eps is 0\.001, and was 1e-06"):
        gone_on(copies[2], **{place: str(another)})


def test_an_adapter_goes_on_over_its_own_weights_alone(
    config: dict[str, Any], tmp_path: Path
) -> None:
    base = written(tmp_path / "base")
    adapter = {"class_path": "roots.networks.LoRA", "init_args": {"rank": 2}}
    run = begun_with(base, config, adapter=adapter)
    copied = copy_of(run, "0002")
    whole = gone_on(run)
    moved = shutil.move(base, tmp_path / "moved")
    others = written(tmp_path / "others", seed=4)
    state = (copied.path / "state.json").read_bytes()
    with pytest.raises(CheckpointError, match=r"adapter was trained on .*base .* are others"):
        gone_on(copied, **{"model.network.path": str(others)})
    assert (copied.path / "state.json").read_bytes() == state
    assert gone_on(copied, **{"model.network.path": str(moved)}) == whole
