"""What the comparison runs on: the names that go into results, without importing torch."""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path


@functools.cache
def cpu_name() -> str:
    """Gives the model name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        found = re.search(r"model name\s*:\s*(.+)", info.read_text())
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


@functools.cache
def gpu_name() -> str:
    """Gives the name of the first CUDA device; empty where there is none."""
    if not shutil.which("nvidia-smi"):
        return ""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 and done.stdout else ""


def cores() -> int:
    """Counts the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def hardware(device: str) -> str:
    """Names what a preset runs on, in words; empty for a GPU where there is none."""
    return gpu_name() if device == "cuda" else f"{cpu_name()}, {cores()} cores"


def everything() -> str:
    """Names processor and GPU: results of another machine are not taken for those of this one."""
    return f"{hardware('cpu')} {gpu_name()}"


def slug(text: str) -> str:
    """Makes a part of a file name of words."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def load() -> float:
    """Gives the number of processes that want to compute, over the last minute."""
    return os.getloadavg()[0]
