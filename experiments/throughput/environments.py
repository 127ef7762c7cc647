"""Makes the environments of the peers: one each, with what its authors ask for and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE / ".environments"
CONSTRAINTS = HERE.parents[1] / "constraints.txt"
DONE = "complete.json"

REQUIREMENTS = {
    "trainer": ("transformers=={transformers}", "accelerate==1.15.0"),
    "trainer-liger": ("transformers=={transformers}", "accelerate==1.15.0", "liger-kernel==0.8.5"),
    "litgpt": ("litgpt==0.5.13",),
}
"""Beside torch, which is the one that runs the comparison; `{…}` is the version installed here."""


class EnvironmentFailed(Exception):
    """An environment could not be made; the text holds what pip said."""


def requirements(name: str) -> list[str]:
    """Lists what an environment is made of, torch first; that of roots by what decides speed."""
    release = version("torch").split("+")[0]
    if name == "here":
        names = ("lightning", "transformers", "numpy")
        return [f"torch=={release}", *(f"{package}=={version(package)}" for package in names)]
    rest = [line.format(transformers=version("transformers")) for line in REQUIREMENTS[name]]
    return [f"torch=={release}", *rest]


def description(name: str) -> str:
    """Words what an environment is made of, and whether it is there."""
    state = "" if is_ready(name) else " (to be made: about 1.1 GiB, 1 to 3 minutes)"
    return f"{name}: {', '.join(requirements(name))}{state}"


def words(cost: dict[str, float]) -> str:
    """Words what making an environment cost."""
    return f"{cost['seconds']:.0f} s, {cost['mib']:,.0f} MiB"


def python_of(name: str) -> Path:
    """Gives the interpreter of an environment, made or not."""
    return Path(sys.executable) if name == "here" else FOLDER / name / "bin" / "python"


def is_ready(name: str) -> bool:
    """Tells whether an environment is complete and made of what is asked for now."""
    if name == "here":
        return True
    done = FOLDER / name / DONE
    return done.is_file() and json.loads(done.read_text())["requirements"] == requirements(name)


def make(name: str, *, torch_index: str = "") -> dict[str, float]:
    """Makes an environment; gives what it cost.

    Args:
        name: A key of `REQUIREMENTS`.
        torch_index: The index to take torch from; empty takes pip's own.

    Returns:
        `seconds` and `mib`.

    Raises:
        EnvironmentFailed: pip refused; its last lines are told.
    """
    folder, began = FOLDER / name, time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    wanted = requirements(name)
    _run([sys.executable, "-m", "venv", str(folder)])
    index = ["--index-url", torch_index] if torch_index else []
    _pip(name, *index, wanted[0])
    # the tested versions of what both sides need; litgpt brings its own
    constraints = ["--constraint", str(CONSTRAINTS)] if name.startswith("trainer") else []
    _pip(name, *constraints, *wanted)
    size = sum(f.lstat().st_size for f in folder.rglob("*") if f.is_file()) / 2**20
    cost = {"seconds": time.monotonic() - began, "mib": size}
    (folder / DONE).write_text(json.dumps({"requirements": wanted, **cost}, indent=2) + "\n")
    return cost


def _pip(name: str, *arguments: str) -> None:
    pip = [str(python_of(name)), "-m", "pip", "install", "--quiet", "--no-input"]
    _run([*pip, "--disable-pip-version-check", *arguments])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line and "WARNING" not in line]
        said = "\n    ".join(lines[-4:] or ["nothing"])
        raise EnvironmentFailed(f"`{' '.join(command[1:])}` failed. It said:\n    {said}")
