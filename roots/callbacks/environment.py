"""What a run ran on, as plain values."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = (
    "roots-lm",
    "torch",
    "lightning",
    "transformers",
    "tokenizers",
    "numpy",
    "jsonargparse",
    "accelerate",
    "bitsandbytes",
    "datasets",
    "deepspeed",
    "liger-kernel",
    "peft",
    "pyarrow",
    "safetensors",
    "scipy",
    "tiktoken",
    "torchao",
    "torchmetrics",
    "triton",
)
"""What a run may compute with; those that are installed are written down."""


def describe_environment(trainer: Any, data: Any) -> dict[str, Any]:
    """Describes command, versions, hardware, code and data; nothing of the environment variables.

    Args:
        trainer: The trainer of the run.
        data: Its data module.
    """
    return {
        "command": _command(sys.argv),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "hardware": _hardware(trainer),
        "arithmetic": _arithmetic(),
        "code": _commit(Path.cwd()),
        **_code_of_roots(),
        "data": {
            "path": str(data.path),
            "fingerprint": data.fingerprint if data.is_ready else "",
            "validated_on": data.validated_on if data.is_ready else "",
        },
    }


def _command(argv: list[str]) -> str:
    """Words what was called, so that it can be typed again; `python -m roots` is `roots`."""
    name = Path(argv[0]).name
    return shlex.join(["roots" if name == "__main__.py" else name, *argv[1:]])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _hardware(trainer: Any) -> dict[str, Any]:
    device = trainer.strategy.root_device
    on_gpu = device.type == "cuda"
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if on_gpu else device.type,
        "ranks": trainer.world_size,
        "machines": trainer.num_nodes,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            names = [
                line.split(":", 1)[1].strip() for line in file if line.startswith("model name")
            ]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _arithmetic() -> dict[str, Any]:
    """Tells the switches that decide about the last bits of a result."""
    return {
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda or "",
        "cudnn": (torch.backends.cudnn.version() or "") if torch.cuda.is_available() else "",
    }


def _code_of_roots() -> dict[str, Any]:
    """Names the commit of roots itself, where it lies in another repository than the run's code."""
    package = Path(__file__).parent
    try:
        here, there = (_git(folder, "rev-parse", "--show-toplevel") for folder in (".", package))
    except (OSError, subprocess.SubprocessError):
        here = there = ""
    is_tracked = bool(there) and bool(_git(package, "ls-files", __file__))
    return {"code_of_roots": _commit(package)} if is_tracked and here != there else {}


def _commit(folder: Path) -> dict[str, Any]:
    """Names the commit of a folder, whether files differ from it, and the sha256 of how."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = bool(_git(folder, "status", "--porcelain"))
        diff = _git(folder, "diff", "--binary", "HEAD") if changed else ""
        untracked = _sum_of_untracked(folder) if changed else ""
    except (OSError, subprocess.SubprocessError):
        return {}
    sha256 = hashlib.sha256(diff.encode(errors="surrogateescape")).hexdigest() if diff else ""
    sums = {"diff_sha256": sha256, "untracked_sha256": untracked}
    return {"commit": commit, "changed": changed, **sums}


def _sum_of_untracked(folder: Path) -> str:
    """Gives the sha256 of the Python files that the repository neither tracks nor ignores."""
    root = Path(_git(folder, "rev-parse", "--show-toplevel"))
    listing = ("ls-files", "--others", "--exclude-standard", "-z", "--", "*.py")
    names = sorted(name for name in _git(root, *listing).split("\0") if (root / name).is_file())
    total = hashlib.sha256()
    for name in names:
        content = (root / name).read_bytes()
        total.update(f"{name}\0{len(content)}\0".encode(errors="surrogateescape") + content)
    return total.hexdigest() if names else ""


def _git(folder: Path | str, *arguments: str) -> str:
    result = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=10,
        check=True,
    )
    return result.stdout.strip()
