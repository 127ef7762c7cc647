"""Weights & Biases and TensorBoard, by flag."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import lightning.fabric.loggers.tensorboard as lightnings_tensorboard
import pytest

from roots.callbacks.recorder import tensorboard_logger, wandb_logger
from roots.errors import MissingExtra
from roots.fit import compose
from roots.runs import Run


@pytest.fixture
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, no mode, and nothing that a run sets stays."""
    for name in ("WANDB_MODE", "WANDB_SILENT", "WANDB_API_KEY"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:wandb")
@pytest.mark.usefixtures("no_account")
def test_wandb_by_flag_without_a_key_tracks_offline_in_the_run_directory(
    config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "sesame-open-8457"
    monkeypatch.setenv("FAKE_API_KEY", secret)
    monkeypatch.setattr(sys, "argv", ["roots", "fit", f"--password={secret}"])
    ignored = {"class_path": "roots.callbacks.Samples", "init_args": {"prompts": ["the"]}}
    ignored["init_args"] |= {"max_tokens": 1}
    flags = {"trainer.wandb": True, "trainer.callbacks": [ignored], "trainer.max_steps": 3}
    first, second = (compose(config, flags).fit() for _ in range(2))
    for run in (first, second):  # each has its own: the first was closed before the second began
        (file,) = run.path.glob("wandb/offline-run-*/*.wandb")
        kept = file.read_bytes()
        assert b"val/bits_per_byte" in kept
        assert b"WarmupCosine" in kept  # the configuration
    files = [path for path in first.path.rglob("*") if path.is_file()]
    assert [path for path in files if secret.encode() in path.read_bytes()] == []


@pytest.mark.usefixtures("no_account")
def test_wandb_is_told_no_secret_and_is_online_only_with_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TOKEN", "sesame-open-8457")
    config: dict[str, Any] = {"data": {"path": "at/sesame-open-8457/x"}}
    logger: Any = wandb_logger(Run(tmp_path / "0001"), "tiny", config)
    assert logger._wandb_init["config"] == {"data": {"path": "at/<FAKE_TOKEN>/x"}}
    import os

    assert os.environ["WANDB_MODE"] == "offline"
    del os.environ["WANDB_MODE"]
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    wandb_logger(Run(tmp_path / "0001"), "tiny", config)
    assert os.environ["WANDB_MODE"] == "online"


def test_tensorboard_by_flag_writes_an_event_file(config: dict) -> None:
    run = compose(config, {"trainer.tensorboard": True, "trainer.max_steps": 3}).fit()
    (events,) = (run.path / "tensorboard").glob("events.out.tfevents.*")
    kept = events.read_bytes()
    assert b"train/loss" in kept
    assert b"val/bits_per_byte" in kept
    assert run.metrics_file.exists()


def test_tensorboard_that_is_missing_is_told_with_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_TENSORBOARD_AVAILABLE", "_TENSORBOARDX_AVAILABLE"):
        monkeypatch.setattr(lightnings_tensorboard, name, False)
    with pytest.raises(MissingExtra, match=r"pip install 'roots-lm\[tensorboard\]'"):
        tensorboard_logger(Run(tmp_path))
