"""What `roots fit` prints at the end can be typed as it is."""

from __future__ import annotations

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
