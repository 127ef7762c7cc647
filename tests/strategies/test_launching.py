"""Ranks of one machine end together, and the first has time to end what it alone does."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.heavy

SCRIPT = """
import subprocess, sys, time
from roots.strategies.launching import Watch
child, busy_until, patience, seconds = sys.argv[1], *map(float, sys.argv[2:])
process = subprocess.Popen([sys.executable, "-c", child])
process.wait()
began = time.monotonic()
busy = lambda: time.monotonic() < began + busy_until
Watch([process], is_busy=busy, patience=patience, period=0.1).start()
time.sleep(seconds)
print("ended by itself")
sys.exit(130)
"""
ENDS, FAILS, KILLED = "", "raise SystemExit(130)", "import os; os.kill(os.getpid(), 9)"


@pytest.mark.parametrize(
    ("child", "busy_until", "patience", "code"),
    [
        (ENDS, 0.0, 0.0, 130),
        (FAILS, 0.0, 30.0, 130),
        (FAILS, 30.0, 0.0, 130),
        (FAILS, 0.0, 0.5, -9),
        (FAILS, 1.0, 0.5, -9),
        (KILLED, 30.0, 30.0, -9),
    ],
)
def test_the_first_rank_has_time_unless_another_was_killed(
    child: str, busy_until: float, patience: float, code: int
) -> None:
    seconds = 3 if code == 130 else 60
    command = [sys.executable, "-c", SCRIPT, child, str(busy_until), str(patience), str(seconds)]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code
    assert ("ended by itself" in done.stdout) is (code == 130)
    if code == -9:
        assert time.monotonic() - began < 55
        what = "SIGKILL" if child == KILLED else "exit code 130"
        assert f"rank 1 of this machine ended ({what}): the others are ended" in done.stderr
