"""Whether something can be written where a flag says, asked before the work is done."""

from __future__ import annotations

from pathlib import Path

from roots.errors import ConfigError


def check_place(path: Path, flag: str, *, is_folder: bool) -> None:
    """Refuses a place below a file, and one that a file or a folder has taken.

    Args:
        path: Where something is to be written; it need not be there, nor the folders above it.
        flag: Names it: `--to`.
        is_folder: Whether a folder is written there, or a file.

    Raises:
        ConfigError: Nothing can be written there.
    """
    if path.exists() and path.is_dir() != is_folder:
        is_, wanted = ("a file", "folder") if is_folder else ("a folder", "file")
        raise ConfigError(f"{path} is {is_}. Give {flag} a {wanted} that is not there yet.")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir():
        raise ConfigError(
            f"{path} would lie in {above}, which is a file. Give {flag} another place, or move that"
            " file away."
        )
