"""How a folder appears whole or not at all, once, with several processes asking for it.

It is built beside its final name, in `<name>.building/`, and renamed when it is complete. A lock
file beside it lets one process build while the others wait; the operating system frees the lock of
a process that dies.

    <name>.building/shards/   becomes <name>
    <name>.building/work/     what only the build needs; with notes in it, a build that ended early
                              is kept, and the next one finds both folders
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from roots.errors import DataError
from roots.records import exchange
from roots.shards.manifest import MANIFEST, Manifest
from roots.shards.sums import sums_of

_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_MARK = ".roots-building"
_SHARDS, _WORK = "shards", "work"
NOTES = "journal.json"
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


def check_movable(folder: Path) -> None:
    """Refuses a place that no folder can be renamed to when it is complete.

    Raises:
        DataError: It is where a disk is mounted, or is named by `.` or `..`.
    """
    if folder.name in ("", ".."):
        raise DataError(
            f"out={folder} has no name of its own, by which it could be replaced. Write one out,"
            f" such as {folder / 'corpus'}."
        )
    if folder.is_mount():
        raise DataError(
            f"out={folder} is where a disk is mounted, which cannot be replaced. Set out to a"
            f" folder on it, such as {folder / 'corpus'}."
        )


def remove_rest(folder: Path) -> None:
    """Removes what a build left that was killed after its folder was in place."""
    folder = Path(os.path.realpath(folder))
    if _is_rest(folder):
        with suppress(OSError), _locked(folder, lambda _: None):
            if _is_rest(folder):
                shutil.rmtree(_place_of(folder), ignore_errors=True)


def _is_rest(folder: Path) -> bool:
    place = _place_of(folder)
    return (place / _MARK).is_file() and not (place / _SHARDS).exists()


def _place_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.building")


def publish(
    folder: Path,
    *,
    reason: Callable[[], str | None],
    build: Callable[[Path, Path], None],
    say: Callable[[str], None],
) -> None:
    """Builds `folder` under a lock, unless another process did so in the meantime.

    Args:
        folder: The final name.
        reason: Why it must be built, or None; asked again once the lock is held.
        build: Fills a folder, with the help of a second one that is removed at the end.
        say: Shows a line to the user.

    Raises:
        DataError: The disk refuses, or where it would be built lies something of others.
    """
    if folder.is_symlink():  # to another disk, perhaps: there it is built, and the link stays
        folder = Path(os.path.realpath(folder))
    check_movable(folder)
    with _told_in_words(folder), _locked(folder, say):
        why = reason()
        if why is None:
            return
        say(f"{folder}: building, because {why}")
        place = _place(folder)
        try:
            build(place / _SHARDS, place / _WORK)
        except BaseException:
            _leave(place, say)
            raise
        _swap(place / _SHARDS, folder, say)
        shutil.rmtree(place, ignore_errors=True)


def _place(folder: Path) -> Path:
    """Makes where it is built, with what a killed build left there to go on with."""
    place = _place_of(folder)
    if place.exists() and not (place / _MARK).is_file():
        raise DataError(
            f"{place} is there, and no build of roots made it, so it is left as it is. Move it"
            " away, or give another folder as out."
        )
    if place.exists() and not _goes_on(place):
        shutil.rmtree(place)
    place.mkdir(exist_ok=True)
    (place / _MARK).touch()
    for name in (_SHARDS, _WORK):
        (place / name).mkdir(exist_ok=True)
    return place


def _goes_on(place: Path) -> bool:
    return (place / _WORK / NOTES).is_file()


def _leave(place: Path, say: Callable[[str], None]) -> None:
    """Keeps what a build that ended early did, if the next one can go on with it."""
    if not _goes_on(place):
        shutil.rmtree(place, ignore_errors=True)
        return
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    say(
        f"{place}: kept, {size / 1e6:,.1f} MB. The same command goes on from there; delete the"
        " folder if nobody will."
    )


def _has_manifest(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() and '"roots-shards"' in (folder / MANIFEST).read_text(
        encoding="utf-8", errors="replace"
    )


def _swap(temporary: Path, folder: Path, say: Callable[[str], None]) -> None:
    """Puts the new folder in the place of the old; of the old, removes only what roots wrote."""
    old = folder.with_name(f"{folder.name}.old-{os.getpid()}")
    if not folder.exists():
        temporary.rename(folder)
        return
    temporary = temporary.rename(folder.with_name(f".{folder.name}.new-{os.getpid()}"))
    if exchange(temporary, folder):
        temporary.rename(old)
    else:
        folder.rename(old)
        temporary.rename(folder)
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


class _NoLocks(Exception):
    """The file system has no locks: its own words."""


@contextmanager
def _locked(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    path = folder.with_name(f".{folder.name}.roots-lock")
    file = _acquire(path, lambda: say(f"{folder}: another process builds it; waiting for that one"))
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps an open file; it is empty and does no harm
            path.unlink()
        os.close(file)


def _acquire(path: Path, on_wait: Callable[[], None]) -> int:
    """Waits for the lock; again when its last holder removed the file meanwhile."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _wait_for(file, on_wait)
        except _NoLocks as error:
            os.close(file)
            path.unlink(missing_ok=True)
            raise DataError(
                f"{path.parent} is on a file system without locks ({error}), where two processes"
                " could build one folder. Set out to a folder on another, such as a local disk, and"
                " copy it here when it is built; or have this one mounted with locks (Lustre: -o"
                " flock)."
            ) from error
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), path.stat()):
                return file
        os.close(file)


def _wait_for(file: int, on_wait: Callable[[], None]) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(file, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined,unused-ignore]
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise _NoLocks(error.strerror) from error
        on_wait()
        fcntl.flock(file, fcntl.LOCK_EX)
