"""Where something is written: whether it can be, asked before the work is done, and a new run."""

from __future__ import annotations

import os
import re
from pathlib import Path

from roots.errors import ConfigError
from roots.runs.run import Run

MAX_NAME_BYTES = 255
"""What file systems allow a folder's name."""


def check_place(path: Path, flag: str, *, is_folder: bool) -> None:
    """Refuses a place below a file, one that a file or a folder has taken, and one of others.

    Args:
        path: Where something is to be written; it need not be there, nor the folders above it.
        flag: Names it: `--to`.
        is_folder: Whether a folder is written there, or a file.

    Raises:
        ConfigError: Nothing can be written there.
    """
    try:
        if path.exists() and path.is_dir() != is_folder:
            is_, wanted = ("a file", "folder") if is_folder else ("a folder", "file")
            raise ConfigError(f"{path} is {is_}. Give {flag} a {wanted} that is not there yet.")
        above = next(folder for folder in path.absolute().parents if folder.exists())
    except OSError as error:  # such as a name that is too long, or a folder that is not shown
        raise ConfigError(
            f"Nothing can be written to {path}: {error.strerror}. Give {flag} another place."
        ) from error
    if not above.is_dir():
        raise ConfigError(
            f"{path} would lie in {above}, which is a file. Give {flag} another place, or move that"
            " file away."
        )
    inside = path if is_folder and path.exists() else above
    if not os.access(inside, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{path} would be written into {inside}, which you may not write. Give {flag} another"
            " place, or ask for the right to write there."
        )


def claim(root: Path | str, name: str) -> Run:
    """Makes the next free directory `root/name/0001`, …: never one that another run got.

    Raises:
        ConfigError: `name` cannot be a folder's name, or nothing can be written in `root`.
    """
    check_name(name)
    folder = Path(root) / name
    try:
        return Run(_next_free(folder))
    except OSError as error:
        raise ConfigError(
            f"No run can be begun in {folder}: {error.strerror}. Give another folder for it, which"
            " you may write."
        ) from error


def _next_free(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    taken = [int(p.name) for p in folder.iterdir() if p.name.isdecimal()]
    number = max(taken, default=0) + 1
    while True:
        path = folder / f"{number:04d}"
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path


def check_name(name: str) -> None:
    """Raises ConfigError when `name` cannot be a folder's name."""
    if not re.fullmatch(r"[\w.+-]+", name) or name in (".", ".."):
        raise ConfigError(
            f"name={name!r} cannot be a folder's name. Use letters, digits, '.', '_', '+' and '-'."
        )
    if len(name.encode()) > MAX_NAME_BYTES:
        raise ConfigError(
            f"name={name[:20]!r}… has {len(name.encode()):,} bytes, and a folder's name at most"
            f" {MAX_NAME_BYTES}. Shorten it."
        )
