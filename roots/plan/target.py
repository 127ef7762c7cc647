"""The devices that a plan is for: those of the trainer, or others that it only names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from roots.plan.devices import MEMORIES, USABLE

MEMINFO = Path("/proc/meminfo")
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
CGROUP_USED = Path("/sys/fs/cgroup/memory.current")
CGROUP_PARTS = Path("/sys/fs/cgroup/memory.stat")


@dataclass(frozen=True)
class Target:
    """Some devices of one kind.

    Args:
        kind: `cpu`, `cuda` or `mps`.
        name: As torch names the device; the kind where it names none.
        usable_bytes: What a plan may fill of one device's memory; None where that is not known.
        ranks: How many devices.
        nodes: Machines that they are in.
    """

    kind: str
    name: str
    usable_bytes: int | None
    ranks: int = 1
    nodes: int = 1


def target_of(trainer: Any) -> Target:
    """Gives the devices that a trainer will use."""
    device, nodes = trainer.strategy.root_device, trainer.num_nodes
    ranks = trainer.world_size
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        name = torch.cuda.get_device_name(device)
        return Target("cuda", name, int(total * USABLE), ranks, nodes)
    if device.type == "cpu":
        free = free_bytes()
        mine = None if free is None else int(free * USABLE) // max(ranks // nodes, 1)
        return Target("cpu", "cpu", mine, ranks, nodes)
    return Target(device.type, device.type, None, ranks, nodes)


def target_named(name: str, ranks: int, nodes: int) -> Target:
    """Gives devices by their name in the table.

    Args:
        name: As `device_meant` gives it: `NVIDIA H100 80GB HBM3`.
        ranks: How many, over all machines.
        nodes: Machines that they are in.
    """
    return Target("cuda", name, MEMORIES[name].usable_bytes, ranks, nodes)


def free_bytes() -> int | None:
    """Tells how much memory of this machine, or of its container, is free; None if unknown."""
    try:
        pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
    free = _available() or pages
    limit = _number(CGROUP_LIMIT)
    used = _number(CGROUP_USED)
    if limit is None or used is None:
        return free
    return min(free, max(limit - used + _given_back(), 0))


def _given_back() -> int:
    """Reads how much of what a container uses are pages of files, given back when asked for."""
    return _line(CGROUP_PARTS, "inactive_file") or 0


def _available() -> int | None:
    """Reads what Linux says new programs can have, page cache included."""
    kilobytes = _line(MEMINFO, "MemAvailable:")
    return None if kilobytes is None else kilobytes * 1024


def _line(file: Path, name: str) -> int | None:
    """Reads the number beside a name; None where the file or the name is not there."""
    try:
        rows = [line.split() for line in file.read_text(encoding="ascii").splitlines()]
    except OSError:
        return None
    return next((int(row[1]) for row in rows if row[:1] == [name]), None)


def _number(file: Path) -> int | None:
    try:
        text = file.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
