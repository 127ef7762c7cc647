"""Two names on a disk that change places in one step, where the system has a call for it."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

_SWAP = 2
"""RENAME_EXCHANGE of Linux's <linux/fs.h>, and RENAME_SWAP of macOS' <sys/stdio.h>."""

_HERE = -100
"""AT_FDCWD of Linux: relative paths begin at the working directory."""

_NOT_HERE = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY}


def exchange(one: Path, other: Path) -> bool:
    """Lets two files or folders change places; at no moment is either name without one of them.

    Returns:
        Whether that was possible: NFS and some other file systems know no such call, and Windows
        has none. Then nothing was done.

    Raises:
        OSError: One of them is not there, or may not be renamed.

    Source:
        renameat2(2) of Linux, renamex_np(2) of macOS.
    """
    a, b = os.fsencode(one), os.fsencode(other)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            failed = libc.renamex_np(a, b, _SWAP)
        else:
            failed = libc.renameat2(_HERE, a, _HERE, b, _SWAP)
    except (AttributeError, OSError, TypeError):  # an older C library, or none
        return False
    if not failed:
        return True
    number = ctypes.get_errno()
    if number in _NOT_HERE:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))
