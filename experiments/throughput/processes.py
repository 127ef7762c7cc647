"""Runs a script in an environment, as a process that leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import environments

REPOSITORY = Path(__file__).parents[2]


class Failed(Exception):
    """A process ended with an error, or without a result; the text holds its last lines."""


def in_a_process(
    script: Path, environment: str, job: Path, log: Path, variables: dict[str, str]
) -> None:
    """Runs `script` on `job` in a process group of its own, which ends with us.

    Args:
        script: A file of this folder.
        environment: `here`, where it finds this checkout of roots, or a peer's.
        job: The script's only argument.
        log: Takes what it prints.
        variables: Environment variables beside ours.

    Raises:
        Failed: It ended with an error.
    """
    everything = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    everything |= {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", **variables}
    if environment == "here":
        everything["PYTHONPATH"] = str(REPOSITORY)
    command = [str(environments.python_of(environment)), str(script), str(job)]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, env=everything, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    if code:
        raise Failed(f"{script.name} ended with exit code {code}; the end of {log}:{ending(log)}")


def ending(log: Path, n_lines: int = 3) -> str:
    """Gives the last lines of a log, each on an indented line of its own."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return "".join(f"\n    {line}" for line in lines[-n_lines:])


def commit() -> str:
    """Names the commit of this checkout, and says if it was changed since."""
    git = ["git", "-C", str(REPOSITORY)]
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode:
        return "unknown"
    changed = [*git, "status", "--porcelain", "--untracked-files=no"]
    state = subprocess.run(changed, capture_output=True, text=True, check=False).stdout.strip()
    return head.stdout.strip() + (" with changes" if state else "")
