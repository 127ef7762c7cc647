"""Sweeps from what is on a disk: a sweep file, or the directory of a sweep that has begun."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from roots.errors import CheckpointError, ConfigError
from roots.records import expanded
from roots.sweeps.definition import read_definition
from roots.sweeps.sweep import ELSEWHERE, RECORD_FILE, STUDY_FILE, SWEEP_FILE, Sweep


def read_sweep(
    file: str | Path | Mapping[str, Any],
    *,
    sweeps_dir: str | Path = "sweeps",
    storage: str = "",
    folds: int | None = None,
) -> Sweep:
    """Reads a sweep file, or what one would say.

    Args:
        file: The file, or its content.
        sweeps_dir: The folder of all sweeps; `~` and `${VARIABLE}` are expanded.
        storage: A database's URL, or the path of a journal file, which several machines share.
        folds: Makes each trial a cross-validation; wins over the file's `folds`.

    Raises:
        ConfigError: It is no sweep file, or says something impossible.
    """
    return Sweep(read_definition(file, folds=folds), sweeps_dir=sweeps_dir, storage=storage)


def open_sweep(folder: str | Path, *, storage: str = "") -> Sweep:
    """Opens a sweep's directory, to go on with it or to look at it.

    Args:
        folder: The directory; `~` and `${VARIABLE}` are expanded.
        storage: Where its trials are, when it was begun with a storage.

    Raises:
        CheckpointError: There is no sweep, or one of its files is missing or damaged.
        ConfigError: Its trials are in a storage, and none is given.
    """
    path = Path(expanded(str(folder)))
    if not (path / SWEEP_FILE).is_file():
        what = f"is no sweep's directory (no {SWEEP_FILE})" if path.exists() else "does not exist"
        raise CheckpointError(f"{path} {what}. Give one such as sweeps/quickstart/0001.")
    given = _table(path / SWEEP_FILE, yaml.safe_load)
    base = _table(path / "base.yaml", yaml.safe_load)
    record = _table(path / RECORD_FILE, json.loads)
    kept, asked = record.get("storage"), record.get("trials")
    if asked is not None and (type(asked) is not int or asked < 1):
        raise _unreadable(path / RECORD_FILE, f"trials is {asked!r}")
    if kept != ELSEWHERE and not storage and not (path / STUDY_FILE).is_file():
        raise CheckpointError(
            f"{path} lacks {STUDY_FILE}, in which its trials are. Put it back, or start the sweep"
            " anew from its sweep file."
        )
    if kept == ELSEWHERE and not storage:
        raise ConfigError(
            f"{path} keeps its trials in a storage, whose address it does not write down. Give it"
            " again: --storage."
        )
    definition = read_definition(given, base=base)
    definition = replace(definition, run_cap=asked or definition.run_cap)
    return Sweep(definition, sweeps_dir=path.parent.parent, storage=storage, folder=path)


def _table(file: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    """Reads a file of a sweep's directory.

    Raises:
        CheckpointError: It is missing or damaged.
    """
    try:
        content = parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _unreadable(file, " ".join(str(error).split())) from error
    if not isinstance(content, dict):
        raise _unreadable(file, "it holds no keys and values")
    return content


def _unreadable(file: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"{file} is missing or damaged: {why}. Put it back, or start the sweep anew."
    )
