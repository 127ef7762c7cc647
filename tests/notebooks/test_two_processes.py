"""A run over two devices in a notebook: its ranks are processes of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kernels import execute, install_kernel, printed, shown
from nbformat.v4 import new_code_cell, new_notebook

from roots.runs import Run


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_ranks_train_beside_the_notebook_which_then_has_their_network(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in install_kernel(tmp_path).items():
        monkeypatch.setenv(name, value)
    config["trainer"] |= {"devices": 2, "progress": True}
    lines = (
        f"import roots\ncomposed = roots.compose({config!r})",
        "run = composed.fit()\nprint(run.path)",
        "print(repr(composed.generate('the cat', max_tokens=8)))",
    )
    notebook = new_notebook(cells=[new_code_cell(line) for line in lines])
    execute(notebook, tmp_path)
    where, text = printed(notebook).split("\n")[:2]
    run = Run(where)
    assert json.loads((run.path / "environment.json").read_text())["hardware"]["ranks"] == 2
    assert run.last().step == 6
    assert len(text) > 4
    (said,) = shown(notebook, "text/plain")
    assert "next:" in said, "what roots fit says at its end, in one place"
