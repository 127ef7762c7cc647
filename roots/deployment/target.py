"""Where an export may be written, so that nothing of the user's is lost."""

from __future__ import annotations

import os
from pathlib import Path

from roots.deployment.manifest import MANIFEST, read_names
from roots.errors import ConfigError
from roots.records import expanded
from roots.runs import check_place


def target(to: str | Path) -> Path:
    """Gives the folder that is written: `~` and `${VARIABLE}` are expanded, a link is followed.

    So a link stays, and what it leads to is replaced.

    Raises:
        ConfigError: A variable is not set, or there is no such user.
    """
    name = expanded(str(to))
    if name.startswith("~"):
        raise ConfigError(
            f"--to {to} begins with the home folder of a user that this machine does not know."
            f" Write the path out, or ./{name} for a folder that is called so."
        )
    path = Path(name)
    if os.path.islink(path) or path.name in ("", ".."):  # noqa: PTH114 (a path object would raise)
        return Path(os.path.realpath(path))
    return path


def check_target(to: Path, source: Path, *, overwrite: bool) -> None:
    """Refuses a folder that must not be replaced, or cannot be.

    Args:
        to: Where the export shall be.
        source: The folder that it is made of.
        overwrite: Whether an earlier export may be replaced.

    Raises:
        ConfigError: `to` is a file or lies below one, is the working directory or where a disk is
            mounted, holds what is exported, or holds something that is not an earlier export.
    """
    check_place(to, "--to", is_folder=True)
    _check_movable(to)
    if source.resolve().is_relative_to(to.resolve()):
        raise ConfigError(
            f"{to} holds the network that is exported ({source}). Give --to another folder."
        )
    held = sorted(path.name for path in to.iterdir()) if to.is_dir() else []
    if held:
        _check_replaceable(to, held, overwrite=overwrite)


def _check_movable(to: Path) -> None:
    """Raises ConfigError where a finished folder cannot take the place of the one that is there."""
    what = ""
    if os.path.realpath(to) == os.path.realpath("."):
        what = "is the folder that you work in"
    elif to.is_mount():
        what = "is where a disk is mounted"
    if what:
        raise ConfigError(
            f"{to} {what}, and an export takes the place of a folder when it is complete. Give --to"
            f" a folder in it, such as {to / 'network'}."
        )


def check_merge(folder: Path, *, merge: bool, dtype: str) -> None:
    """Raises ConfigError where there is nothing to merge, or an adapter alone has no dtype."""
    has_adapter = (folder / "adapter_config.json").is_file()
    if merge and not has_adapter:
        raise ConfigError(f"{folder} has no adapter to merge. Leave out --merge.")
    if has_adapter and not merge and dtype != "auto":
        raise ConfigError(
            f"--dtype {dtype} is for whole weights, and {folder} holds an adapter, which is written"
            " as it is. Add --merge, or leave out --dtype."
        )


def _check_replaceable(to: Path, held: list[str], *, overwrite: bool) -> None:
    written = read_names(to)
    if written is None:
        raise ConfigError(
            f"{to} holds {len(held):,} entries ({', '.join(held[:3])}, …) and no {MANIFEST} of an"
            " export, so it is never replaced. Give --to another folder."
        )
    foreign = [name for name in held if name not in written]
    if foreign:
        raise ConfigError(
            f"{to} is an export, and holds {', '.join(foreign[:3])}, which roots did not write and"
            " would remove. Move that away, or give --to another folder."
        )
    if not overwrite:
        raise ConfigError(
            f"{to} holds an export already. Add --overwrite to replace it, or give --to another"
            " folder."
        )
