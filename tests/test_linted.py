"""The linter reads all that is ours: a room that it leaves out is noticed by nobody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUFF = Path(sys.executable).with_name("ruff")


@pytest.mark.skipif(not RUFF.exists(), reason="ruff is not installed here")
def test_the_linter_reads_every_file_of_roots_and_of_the_tests() -> None:
    asked = [RUFF, "check", "--show-files", "roots", "tests"]
    read = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ours = {str(path) for room in ("roots", "tests") for path in (ROOT / room).rglob("*.py")}
    assert {*read.splitlines()} == ours
