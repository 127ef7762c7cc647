"""A key of the environment and a token in an address reach no file of a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from wandb_files import offline_file

import roots
from roots.errors import ConfigError
from roots.fit import compose
from roots.runs import Run, hidden_names

KEY, TOKEN = "sesame-open-8457", "t0ken-of-ann-93"
ADDRESS = f"https://ann:{TOKEN}@host.example/model?sig={TOKEN}"


@pytest.fixture
def planted(
    config: dict[str, Any], shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """A run file whose paths, network, prompts and command hold secrets."""
    monkeypatch.setenv("MY_API_KEY", KEY)
    monkeypatch.setattr(sys, "argv", ["roots", "fit", f"--password={KEY}", f"--from={ADDRESS}"])
    (tmp_path / KEY).symlink_to(shards)
    config["data"]["init_args"]["shards"] = str(tmp_path / KEY)
    network = config["model"]["init_args"]["network"]["init_args"]
    network["config"] = {**network["config"], "id2label": {0: ADDRESS, 1: KEY}}
    prompts = [f"the key {KEY}", f"see {ADDRESS}"]
    samples = {"prompts": prompts, "max_tokens": 1}
    callback = {"class_path": "roots.callbacks.Samples", "init_args": samples}
    config["trainer"] |= {"callbacks": [callback], "max_steps": 3, "tensorboard": True}
    return config


def leaks(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 8
    secrets = (KEY.encode(), TOKEN.encode())
    return [
        str(path.relative_to(folder))
        for path in files
        if any(secret in path.read_bytes() for secret in secrets)
    ]


def test_no_file_of_a_run_holds_a_secret(planted: dict[str, Any]) -> None:
    run = compose(planted).fit()
    assert leaks(run.path) == []
    state = torch.load(run.last().trainer_file, weights_only=True)
    names = state["hyper_parameters"]["network"]["init_args"]["config"]["id2label"]
    told = {"0": "https://<secret>@host.example/model?sig=<secret>", "1": "<MY_API_KEY>"}
    assert names == told
    assert "data.init_args.shards" in hidden_names(Run(run.path).config())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:wandb")
def test_no_file_of_a_tracked_run_holds_a_secret(
    planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path))
    run = compose(planted, {"trainer.wandb": True, "trainer.wandb_checkpoints": True}).fit()
    (folder,) = run.path.glob("wandb/offline-run-*")
    assert b"WarmupCosine" in offline_file(folder, b"WarmupCosine", b"val/bits_per_byte")
    assert leaks(run.path) == []


def test_a_run_that_fails_by_a_secret_does_not_tell_it(planted: dict[str, Any]) -> None:
    import lightning as L

    class Fails(L.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            raise OSError(f"no access with {KEY} at {ADDRESS}")

    composed = compose(planted)
    composed.trainer.callbacks.append(Fails())
    with pytest.raises(OSError, match=KEY):
        composed.fit()
    run = composed.trainer.run
    assert run is not None
    assert (
        "no access with <MY_API_KEY> at https://<secret>@" in (run.path / "state.json").read_text()
    )
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert not any(KEY.encode() in path.read_bytes() for path in files)


def test_a_secret_that_was_left_out_is_asked_for_and_not_replaced_by_its_name(
    planted: dict[str, Any], shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = planted["model"]["init_args"]["network"]["init_args"]
    network["config"] = {k: v for k, v in network["config"].items() if k != "id2label"}
    planted["trainer"].pop("callbacks")
    run = compose(planted).fit()
    with pytest.raises(ConfigError, match=r"left out of .* at data\.init_args\.shards\. Give the"):
        roots.resume(run.path, {"trainer.max_steps": 4})
    place = planted["data"]["init_args"]["shards"]
    roots.resume(run.path, {"trainer.max_steps": 4, "data.shards": place})
    told = capsys.readouterr().err
    assert "trainer.max_steps: 3 → 4" in told
    assert KEY not in told


def test_what_changes_at_a_resume_is_told_without_a_secret(
    config: dict[str, Any],
    shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = compose(config).fit()
    monkeypatch.setenv("MY_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    Path(KEY).symlink_to(shards)
    roots.resume(run.path, {"data.shards": KEY})
    told = capsys.readouterr().err
    assert "<MY_API_KEY>" in told
    assert KEY not in told
