"""A sweep whose trials are stand-ins for `roots fit`."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_sweeps import write

from roots.sweeps import Sweep, engine


@pytest.fixture
def sweep_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Path:
    """A sweep whose trials are stand-ins, with the checks of their flags left out."""
    monkeypatch.setattr(Sweep, "check", lambda self, **_: None)
    monkeypatch.setattr(engine, "POLL_SECONDS", 0.02)
    if "report" not in request.node.name:
        monkeypatch.setattr(Sweep, "report", lambda self: None)  # its figures take a second
    (tmp_path / "run.yaml").write_text("trainer: {runs_dir: my-runs}\n")
    return write(tmp_path / "tiny.yaml")
