"""A run is trained by one process at a time."""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from pathlib import Path
from typing import IO, Any

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK_FILE = ".lock"


class RunLock:
    """Holds a run's directory; it ends with the process, however that ends.

    The system holds the lock for an open file and lets go when the process is gone, so that nothing
    is stale after a kill; on network file systems that have locks, across machines too. The file
    says who holds it. On a file system without locks its holder is looked up among this machine's
    processes; Windows has neither, and holds nothing.

    Args:
        run: The run's directory; None holds nothing.
    """

    def __init__(self, run: Path | None) -> None:
        self._path = None if run is None else run / LOCK_FILE
        self._file: IO[str] | None = None

    def acquire(self) -> str:
        """Takes the lock.

        Returns:
            Who holds it, in words; nothing when it is this process now.
        """
        assert self._path is not None
        file = self._path.open("a+", encoding="utf-8")
        holder = _read(file)
        if not _lock(file, holder):
            file.close()
            return _in_words(holder)
        file.seek(0)
        file.truncate()
        json.dump({"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}, file)
        file.flush()
        self._file = file
        return ""

    @property
    def is_held(self) -> bool:
        """Whether this process holds the run."""
        return self._file is not None

    def release(self) -> None:
        """Lets go, when it holds."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None


def holder(run: Path) -> str:
    """Tells who trains a run, in words; nothing when nobody does. It takes nothing itself.

    A process that was killed has left its name in the file, but neither lives nor holds the lock;
    its number may have gone to another program. Windows, which holds nothing, tells nothing.
    """
    try:
        file = (run / LOCK_FILE).open(encoding="utf-8")
    except OSError:
        return ""
    with file:
        told = _read(file)
        return _in_words(told) if told and _is_held(file, told) else ""


def _is_held(file: IO[str], holder: dict[str, Any]) -> bool:
    if fcntl is None or (_is_of_this_machine(holder) and not _lives(holder["pid"])):
        return False
    try:
        # Shared, so that two who look do not see each other; closing the file lets go.
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EACCES) or _is_of_this_machine(holder)
    return False


def _lock(file: IO[str], holder: dict[str, Any]) -> bool:
    """Locks a file; where the system cannot, looks whether its holder lives on this machine."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        return not _lives_here(holder)
    return True


def _read(file: IO[str]) -> dict[str, Any]:
    file.seek(0)
    try:
        told = json.loads(file.read() or "{}")
        return {"pid": int(told["pid"]), "host": str(told["host"]), "since": float(told["since"])}
    except (ValueError, KeyError, TypeError):
        return {}


def _lives_here(holder: dict[str, Any]) -> bool:
    other = bool(holder) and holder["pid"] != os.getpid()
    return other and _is_of_this_machine(holder) and _lives(holder["pid"])


def _is_of_this_machine(holder: dict[str, Any]) -> bool:
    return bool(holder["host"] == socket.gethostname())


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _in_words(holder: dict[str, Any]) -> str:
    if not holder:
        return "another process"
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(holder["since"]))
    return f"process {holder['pid']} on {holder['host']}, since {since}"
