"""What `roots fit` prints at the end can be typed as it is."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from roots.cli import run as roots
from roots.runs import Run


def test_the_printed_command_makes_a_run_of_epochs_longer(
    config: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(yaml.safe_dump(config))
    flags = ["--trainer.max_steps=0", "--trainer.max_epochs=0.125", "--trainer.runs_dir=runs"]
    assert roots(["fit", "--config", "run.yaml", *flags]) == 0
    printed = capsys.readouterr().out.splitlines()[-1].split()
    assert printed[:4] == ["roots", "fit", "--resume", "runs/tiny/0001"]
    run = Run("runs/tiny/0001")
    steps = run.last().step
    assert roots(printed[1:]) == 0
    assert abs(run.last().step - 2 * steps) <= 1
    assert roots(printed[1:]) == 0
    assert "already. To train on, add --trainer.max_epochs 0.5." in capsys.readouterr().out


def test_a_network_is_asked_as_the_run_asked_it(
    config: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(yaml.safe_dump(config))
    samples = {"prompts": ["Who's 你?\n"], "max_tokens": 2}
    callbacks = [{"class_path": "roots.callbacks.Samples", "init_args": samples}]
    short = ["--trainer.max_steps=3", "--trainer.runs_dir=runs", "--config", "run.yaml"]
    for flags, prompt in ([], "the beginning of a text"), ([callbacks], samples["prompts"][0]):
        said = [f"--trainer.callbacks={json.dumps(flag)}" for flag in flags]
        assert roots(["fit", *short, *said]) == 0
        printed = capsys.readouterr().out.partition("\nnext:\n")[2].partition("\n  roots export")[0]
        command = shlex.split(printed)
        assert command[:2] == ["roots", "generate"]
        assert command[-1] == prompt
        assert roots([*command[1:], "--max-tokens", "1"]) == 0
