"""What goes when a folder of blocks is over its limit: those that were least recently used."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_ROOM = 1 / 8
"""Share of the limit that is free after something went, so that it need not go one by one."""
_LEFT_BEHIND_SECONDS = 3600.0
"""A temporary file this old is of a process that was killed."""


def make_room(folder: Path, limit_bytes: int) -> int:
    """Removes blocks where they are over the limit; with many processes one does it.

    Args:
        folder: The blocks, in one folder per file.
        limit_bytes: How much all of them may take.

    Returns:
        The bytes that are there afterwards.
    """
    with _alone(folder) as is_ours:
        blocks = sorted(_blocks(folder))
        total = sum(size for _, size, _ in blocks)
        if not is_ours or total <= limit_bytes:
            return total
        for _, size, path in blocks:
            if total <= limit_bytes * (1 - _ROOM):
                break
            with suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108 (a path object for each of many thousands)
            total -= size
        return total


def _blocks(folder: Path) -> Iterator[tuple[int, int, str]]:
    """Gives when each block was last used, its size and its name; removes what was left behind."""
    now = time.time()
    for each in os.scandir(folder):
        if not each.is_dir():
            continue
        for block in os.scandir(each.path):
            with suppress(FileNotFoundError):
                seen = block.stat()
                if block.name.startswith(".") and now - seen.st_mtime > _LEFT_BEHIND_SECONDS:
                    os.unlink(block.path)  # noqa: PTH108
                else:
                    yield seen.st_mtime_ns, seen.st_size, block.path


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Tells whether no other process makes room meanwhile."""
    import fcntl

    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
