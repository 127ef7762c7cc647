"""What goes when a folder of blocks is over its limit: those that were least recently used."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_ROOM = 1 / 8
"""Share of the limit that is free after something went, so that it need not go one by one."""
_LEFT_BEHIND_SECONDS = 3600.0
"""A temporary file this old is of a process that was killed."""
KEY = re.compile(r"[0-9a-f]{64}")
_BLOCK = re.compile(r"[0-9a-f]+")
_TEMPORARY = re.compile(r"\.[0-9a-f]+\.\d+\.\d+")
"""What BlockCache calls its folders and files: all else in the folder is somebody's, and stays."""


def make_room(folder: Path, limit_bytes: int) -> int:
    """Removes blocks where they are over the limit; with many processes one does it.

    Only files that are named as ours are, in folders that are, are counted and removed.

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
        if not KEY.fullmatch(each.name) or not each.is_dir(follow_symlinks=False):
            continue
        for file in os.scandir(each.path):
            is_temporary = bool(_TEMPORARY.fullmatch(file.name))
            if not is_temporary and not _BLOCK.fullmatch(file.name):
                continue
            with suppress(FileNotFoundError):
                seen = file.stat(follow_symlinks=False)
                if not stat.S_ISREG(seen.st_mode):
                    continue
                if is_temporary and now - seen.st_mtime > _LEFT_BEHIND_SECONDS:
                    os.unlink(file.path)  # noqa: PTH108
                else:
                    yield seen.st_mtime_ns, seen.st_size, file.path


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Tells whether no other process is known to make room meanwhile.

    Where two do, since the file system has no locks, more goes than must.
    """
    import fcntl

    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:  # else the file system has no locks, and nobody can hold one
            yield error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
        else:
            yield True
