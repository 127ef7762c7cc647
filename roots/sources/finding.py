"""Which files a `paths` argument names (files, globs, folders), in an order that never changes."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from roots.errors import ConfigError, DataError
from roots.records import expanded, is_file, is_folder
from roots.sources.stored import stored_files
from roots.stores import is_url, located

_GLOB_SIGNS = frozenset("*?[")


def find_files(paths: str | Sequence[str], suffixes: Sequence[str]) -> list[Path]:
    """Lists what `paths` names: each file once, by the first of its names and links, sorted.

    Args:
        paths: Files, globs (`**` crosses folders) and folders (searched for `suffixes`), here or
            as URLs of object stores (`s3://…`); `~` and `${VARIABLE}` are expanded.
        suffixes: File endings that count inside a folder.

    Raises:
        ConfigError: `paths` is empty, or names a variable that is not set.
        DataError: A path names nothing or an empty file, or a folder cannot be searched whole.
    """
    names = [paths] if isinstance(paths, str) else list(paths)
    if not names:
        raise ConfigError(
            "paths is empty, so there is nothing to read. Give at least one file, folder or glob."
        )
    return once(path for name in names for path in _named_by(name, suffixes))


def once(paths: Iterable[Path]) -> list[Path]:
    """Lists each file once, by the first of its names, sorted."""
    resolved = cache(Path.resolve)  # a folder has many files
    found: dict[Path, Path] = {}
    for path in paths:
        # a file may be named from here, from `/`, by way of `..`, and by a link
        place = path
        if not is_url(path):
            place = resolved(path.parent) / path.name
            place = place.resolve() if place.is_symlink() else place
        found.setdefault(place, path)
    return sorted(found.values(), key=lambda path: path.as_posix())


def walk(folder: Path, suffixes: Sequence[str], exclude: Sequence[str] = ()) -> Iterator[Path]:
    """Yields the files below `folder`; links to folders and hidden names are not followed.

    Args:
        folder: Where to start.
        suffixes: The endings that count, in small letters or capitals.
        exclude: Patterns of file or folder names to leave out, at any depth.

    Raises:
        DataError: A folder may not be read, or a name leads to no file.
    """
    endings = tuple(suffix.lower() for suffix in suffixes)
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not _left_out(name, exclude))
        for name in sorted(files):
            if name.lower().endswith(endings) and not _left_out(name, exclude):
                yield _there(Path(parent) / name)


def _refuse(error: OSError) -> None:
    raise DataError(
        f"The folder {error.filename} cannot be read ({error.strerror}), so its files would be left"
        " out. Ask for the right to read it, or name the files of the others by a glob."
    ) from error


def _there(path: Path) -> Path:
    if not is_file(path):
        raise DataError(
            f"{path} is no file to be read: a link to nothing or in a circle, or a device. Fetch"
            " what it should lead to, or remove it."
        )
    return path


def _left_out(name: str, exclude: Sequence[str]) -> bool:
    return name.startswith(".") or any(fnmatch.fnmatch(name, pattern) for pattern in exclude)


def missing(name: str) -> DataError:
    """Words the refusal of a path at which there is nothing."""
    return DataError(
        f"{name} does not exist (looked for {Path(name).absolute()})."
        " Correct the path, or run the command from the folder that it is relative to."
    )


def _named_by(name: str, suffixes: Sequence[str]) -> list[Path]:
    name = expanded(name)
    if is_url(name):
        return stored_files(name, suffixes)
    path = located(name)
    if is_folder(path):
        return _inside(path, suffixes)
    if is_file(path):
        return [_not_empty(path)]
    if _GLOB_SIGNS.isdisjoint(name):
        raise missing(name)
    return _matching(str(path))


def _inside(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    found = list(walk(folder, suffixes))
    if not found:
        endings = ", ".join(suffixes)
        raise DataError(
            f"The folder {folder} holds no file that ends in {endings}, at any depth."
            f" Name the files by a glob, such as '{folder}/**/*.md'."
        )
    return found


def _matching(pattern: str) -> list[Path]:
    found = [Path(name) for name in glob.glob(pattern, recursive=True)]  # noqa: PTH207
    files = [_there(path) for path in found if not is_folder(path)]
    if not files:
        raise DataError(
            f"The glob '{pattern}' matches no file (relative to {Path.cwd()})."
            " Correct it; `**` crosses folders, and quotes keep the shell from expanding it."
        )
    return files


def _not_empty(path: Path) -> Path:
    if path.stat().st_size == 0:
        raise DataError(
            f"{path} is empty (0 bytes). Take it off the list of paths, or fetch it again."
        )
    return path
