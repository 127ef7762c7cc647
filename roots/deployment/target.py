"""Where an export may be written, so that nothing of the user's is lost."""

from __future__ import annotations

from pathlib import Path

from roots.deployment.manifest import MANIFEST, read_names
from roots.errors import ConfigError
from roots.runs import check_place


def check_target(to: Path, source: Path, *, overwrite: bool) -> None:
    """Refuses a folder that must not be replaced.

    Args:
        to: Where the export shall be.
        source: The folder that it is made of.
        overwrite: Whether an earlier export may be replaced.

    Raises:
        ConfigError: `to` is a file or lies below one, holds what is exported, or holds something
            that is not an earlier export of roots.
    """
    check_place(to, "--to", is_folder=True)
    if source.resolve().is_relative_to(to.resolve()):
        raise ConfigError(
            f"{to} holds the network that is exported ({source}). Give --to another folder."
        )
    held = sorted(path.name for path in to.iterdir()) if to.is_dir() else []
    if held:
        _check_replaceable(to, held, overwrite=overwrite)


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
