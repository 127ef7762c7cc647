"""How the C library hands out memory: in large pages, and kept once it was handed out.

A training step on a CPU allocates and frees gigabytes. By default glibc gives large pieces back to
the system at once, which clears them page by page when they are asked for again: a twentieth of a
step with tiled attention. It reads its settings when a process starts, so roots starts itself anew.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

TUNABLES = "GLIBC_TUNABLES"
SETTINGS = (
    "glibc.malloc.hugetlb=1",  # large pages, where the system gives them to who asks
    f"glibc.malloc.mmap_threshold={32 * 2**20}",  # the largest that glibc takes
    f"glibc.malloc.trim_threshold={4 * 2**30}",  # keep what was freed, up to this
    f"glibc.malloc.top_pad={64 * 2**20}",
)
VERBS = ("fit", "profile")
"""Verbs that allocate enough for it to matter."""

_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def tuned(environment: Mapping[str, str]) -> dict[str, str]:
    """Gives an environment with the settings, or an equal one where they do nothing or are set.

    What the user set stays: any setting of glibc's allocator in GLIBC_TUNABLES, an empty
    GLIBC_TUNABLES, or another allocator in LD_PRELOAD.
    """
    before = environment.get(TUNABLES)
    theirs = before is not None and (not before or "glibc.malloc" in before)
    if theirs or environment.get("LD_PRELOAD") or not _is_offered():
        return dict(environment)
    settings = ":".join([before, *SETTINGS] if before else SETTINGS)
    return {**environment, TUNABLES: settings}


def start_anew(arguments: list[str]) -> None:
    """Replaces this process by one with the settings, where a verb that gains by them is run.

    Args:
        arguments: Those of the command line, the verb first.
    """
    if not arguments or arguments[0] not in VERBS or {"-h", "--help"} & set(arguments):
        return
    environment = tuned(os.environ)
    if environment != dict(os.environ):
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def _is_offered() -> bool:
    """Tells whether this is a glibc that knows the settings, on a system that has large pages."""
    name, version = platform.libc_ver()
    if platform.system() != "Linux" or name != "glibc":
        return False
    major, minor = (int(part) for part in version.split(".")[:2])
    try:
        pages = _PAGES.read_text(encoding="ascii")
    except OSError:
        return False
    return (major, minor) >= (2, 35) and "[never]" not in pages
