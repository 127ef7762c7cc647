"""The examples of configs/README.md, run as scripts in a folder that has some pages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from engine_documents import write_files

from roots.corpus import NearDuplicates, Pipeline

PAGE = Path(__file__).parents[3] / "configs" / "README.md"
RUN_RAY = """
import ray
ray.init(num_cpus=2, object_store_memory=100 * 2**20, include_dashboard=False)
"""


def examples() -> list[str]:
    """The Python of the section on engines: datatrove, near duplicates, Ray."""
    section = PAGE.read_text(encoding="utf-8").partition("### Beyond one machine")[2]
    blocks = section.partition("\n## ")[0].split("```python\n")[1:]
    return [block.partition("```")[0] for block in blocks]


def run(code: str, folder: Path) -> str:
    write_files(folder / "pages")
    (folder / "example.py").write_text(code, encoding="utf-8")
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = os.environ | {"PYTHONPATH": paths, "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [sys.executable, "example.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def row(table: str, name: str) -> list[str]:
    """The numbers beside a name: in, kept, edited, dropped."""
    line = next(line for line in table.splitlines() if line.split()[:1] == [name])
    return line.split()[1:5]


def test_the_example_of_datatrove(tmp_path: Path) -> None:
    pytest.importorskip("datatrove", reason="datatrove is not installed (extra datatrove)")
    table = run(examples()[0], tmp_path)
    assert row(table, "GopherQuality") == ["42", "30", "0", "12"]
    assert row(table, "Pii")[:3] == ["30", "30", "12"]
    assert len(list((tmp_path / "clean").iterdir())) == 2


@pytest.mark.slow
def test_the_example_of_near_duplicates(tmp_path: Path) -> None:
    pytest.importorskip("datatrove", reason="datatrove is not installed (extra datatrove)")
    table = run(examples()[1], tmp_path)
    alone = Pipeline([NearDuplicates(threshold=0.8)]).run(write_files(tmp_path / "again"))
    fallen = 48 - 6 - len(list(alone))  # it leaves out the six blank ones
    assert row(table, "NearDuplicates") == ["48", str(48 - fallen), "0", str(fallen)]
    assert fallen == 16


@pytest.mark.slow
def test_the_example_of_ray(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (extra ray)")
    table = run(RUN_RAY + examples()[2], tmp_path)
    assert row(table, "GopherQuality") == ["42", "30", "0", "12"]
    assert row(table, "Pii")[:3] == ["30", "30", "12"]
