"""A sweep whose trials are stand-ins for `roots fit`, and servers that sweeps share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import MariaDb, PostgreSql, Server
from small_sweeps import write

from roots.sweeps import Sweep, engine


@pytest.fixture
def sweep_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Path:
    """A sweep whose trials are stand-ins, with the checks of their flags left out."""
    monkeypatch.setattr(Sweep, "check", lambda self, **_: "")
    monkeypatch.setattr(engine, "POLL_SECONDS", 0.02)
    if "report" not in request.node.name:
        monkeypatch.setattr(Sweep, "report", lambda self: None)  # its figures take a second
    (tmp_path / "run.yaml").write_text("trainer: {runs_dir: my-runs}\n")
    return write(tmp_path / "tiny.yaml")


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Server]:
    yield from lent(PostgreSql())


@pytest.fixture(scope="module", params=[PostgreSql, MariaDb])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param is PostgreSql:
        yield request.getfixturevalue("postgresql")
    else:
        yield from lent(MariaDb())


def lent(server: Server) -> Iterator[Server]:
    yield server
    server.stop()
    shutil.rmtree(server.folder)
