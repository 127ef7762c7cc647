"""How a folder appears whole or not at all, once, with several processes asking for it.

It is built beside its final name and renamed when it is complete. A lock file beside it lets one
process build while the others wait; the operating system frees the lock of a process that dies.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from roots.errors import DataError
from roots.shards.manifest import MANIFEST, Manifest
from roots.shards.sums import sums_of

_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_MARK = ".roots-building"
_EXTRAS = (
    MANIFEST,
    "inputs.json",
    "dropped.jsonl",
    "rejects.jsonl",
    "kept.json",
    "README.md",
    "report.html",
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
)


def check_ours(folder: Path) -> None:
    """Refuses a folder that roots did not make, because building would replace it.

    Raises:
        DataError: The path is a file, or a folder that holds something and no manifest of ours.
    """
    if folder.is_file():
        raise DataError(f"out={folder} is a file. Give a folder that is not there yet.")
    if folder.is_dir() and any(folder.iterdir()) and not _has_manifest(folder):
        names = sorted(path.name for path in folder.iterdir())
        raise DataError(
            f"out={folder} holds {len(names):,} entries ({', '.join(names[:3])}, …) but no"
            f" {MANIFEST} of roots, so it is not replaced. Give another folder as out, or move"
            " this one away."
        )


def publish(
    folder: Path,
    *,
    reason: Callable[[], str | None],
    build: Callable[[Path], None],
    say: Callable[[str], None],
) -> None:
    """Builds `folder` under a lock, unless another process did so in the meantime.

    Args:
        folder: The final name.
        reason: Why it must be built, or None; asked again once the lock is held.
        build: Fills an empty folder.
        say: Shows a line to the user.
    """
    with _told_in_words(folder), _locked(folder):
        why = reason()
        if why is None:
            return
        say(f"{folder}: building, because {why}")
        _remove_leftovers(folder)
        temporary = folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
        temporary.mkdir()
        (temporary / _MARK).touch()
        try:
            build(temporary)
            (temporary / _MARK).unlink()
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _swap(temporary, folder, say)


def _has_manifest(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() and '"roots-shards"' in (folder / MANIFEST).read_text(
        encoding="utf-8", errors="replace"
    )


def _swap(temporary: Path, folder: Path, say: Callable[[str], None]) -> None:
    """Puts the new folder in the place of the old; of the old, removes only what roots wrote."""
    old = folder.with_name(f"{folder.name}.old-{os.getpid()}")
    if folder.exists():
        folder.rename(old)
    temporary.rename(folder)
    if not old.exists():
        return
    for name in _written_by_roots(old):
        (old / name).unlink(missing_ok=True)
    with suppress(OSError):
        (old / "tokenizer").rmdir()
    try:
        old.rmdir()
    except OSError:
        say(f"{old}: kept, because it holds files that roots did not write")


def _written_by_roots(folder: Path) -> list[str]:
    try:
        manifest = Manifest.read(folder)
    except DataError:
        return []
    shards = [file.name for split in manifest.splits.values() for file in split.files]
    sums = [sums_of(Path(name)).name for name in shards]
    findings = [Path(name).name for name in manifest.findings]
    return [*shards, *sums, *findings, *_EXTRAS]


def _remove_leftovers(folder: Path) -> None:
    """Removes what a killed build left; under the lock no other build is alive."""
    name = re.compile(re.escape(folder.name) + r"\.tmp-\d+")
    for path in folder.parent.iterdir():
        if name.fullmatch(path.name) and (path / _MARK).is_file():
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _told_in_words(folder: Path) -> Iterator[None]:
    """Turns what the disk refuses into an error with a cure."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in _FULL:
            cure = (
                "Make room (about 2 bytes per token, and with stages the size of the text while it"
                " is built), or set out to a folder on another disk."
            )
        elif error.errno in _READ_ONLY:
            cure = "Set out to a folder that you may write to, and paths to files you may read."
        else:
            raise
        raise DataError(f"out={folder} cannot be made: {error}. {cure}") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    path = folder.with_name(f"{folder.name}.lock")
    file = _acquire(path)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps an open file; it is empty and does no harm
            path.unlink()
        os.close(file)


def _acquire(path: Path) -> int:
    """Waits for the lock; again when its last holder removed the file meanwhile."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        _wait_for(file)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), path.stat()):
                return file
        os.close(file)


def _wait_for(file: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(file, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        fcntl.flock(file, fcntl.LOCK_EX)
