"""What a run ran on, as plain values."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

PACKAGES = ("roots-lm", "torch", "lightning", "transformers", "tokenizers", "numpy", "jsonargparse")


def describe_environment(trainer: Any) -> dict[str, Any]:
    """Describes command, versions, hardware, code and data; nothing of the environment variables.

    Args:
        trainer: The trainer of the run, with its data module attached.
    """
    return {
        "command": shlex.join([os.path.basename(sys.argv[0]), *sys.argv[1:]]),  # noqa: PTH119
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "hardware": _hardware(trainer),
        "code": _commit(),
        "data": {
            "path": str(trainer.datamodule.path),
            "fingerprint": trainer.datamodule.fingerprint,
        },
    }


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


def _commit() -> dict[str, Any]:
    """Names the commit of the working directory, and whether files differ from it."""
    try:
        commit = _git("rev-parse", "HEAD")
        return {"commit": commit, "changed": bool(_git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return {}


def _git(*arguments: str) -> str:
    result = subprocess.run(
        ["git", *arguments], capture_output=True, text=True, timeout=10, check=True
    )
    return result.stdout.strip()
