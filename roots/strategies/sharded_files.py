"""A checkpoint that no rank ever holds whole: a *.safetensors per rank, and the rest beside them.

    plain.pt             settings, counters, progress; names of shards in their places
    shard-*.safetensors  what a rank held, and where in the whole it belongs

torch.distributed.checkpoint writes and reads the shards, in the format that has no pickle in it; so
they are cut anew for as many ranks as read them, or put together for one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor

from roots.errors import CheckpointError

PLAIN = "plain.pt"
FILES = "shard_files"
"""Beside what is plain: the shards there are, and how many bytes they have."""

AVERAGE = "weight_average"
"""Where a checkpoint has the average of the weights, by the names of parameters, in float32."""

TREES = ("state_dict", "optimizer_states", AVERAGE)
"""The parts of a checkpoint that have shards in them."""


def write_shards(checkpoint: Mapping[str, Any], folder: Path, *, first: bool) -> None:
    """Writes a checkpoint, each rank its shards; all ranks come here at once.

    Args:
        checkpoint: Tensors that are whole everywhere, shards, and plain values.
        folder: Made if it is not there.
        first: Whether this rank writes what is no shard.
    """
    folder.mkdir(parents=True, exist_ok=True)
    taken = _Taken()
    plain = {
        key: replaced(value, taken, key) if key in TREES else value
        for key, value in checkpoint.items()
    }
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    save(taken.shards, storage_writer=writer)
    if first:
        torch.save({**plain, FILES: _bytes_by_name(folder)}, folder / PLAIN)


def read_plain(folder: Path) -> dict[str, Any]:
    """Reads what is no shard, with the names of shards in their places.

    Raises:
        CheckpointError: It is missing, damaged, or pickled objects, or a shard is missing.
    """
    plain = read_file(folder / PLAIN)
    written, found = plain.pop(FILES, {}), _bytes_by_name(folder)
    for name, n_bytes in written.items():
        if found.get(name) != n_bytes:
            there = f"has {found[name]:,} bytes" if name in found else "is missing"
            raise CheckpointError(
                f"The shard {folder / name} {there}; {n_bytes:,} bytes were written. Bring it back,"
                " or use another checkpoint of the run."
            )
    return plain


def _bytes_by_name(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.glob("*.safetensors"))}


def read_file(path: Path, *, mapped: bool = False) -> dict[str, Any]:
    """Reads a file of plain values and tensors.

    Args:
        path: What `torch.save` wrote.
        mapped: Map the file into memory instead of reading it.

    Raises:
        CheckpointError: It is missing, damaged, or holds pickled objects.
    """
    try:
        found = torch.load(path, map_location="cpu", mmap=mapped, weights_only=True)
    except Exception as error:  # torch, zip and pickle raise many kinds
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{path} cannot be read as plain values and tensors: {first_line} It is damaged, or it"
            " holds pickled objects, which roots never writes and never loads, since loading them"
            " runs code of whoever wrote them. Use another checkpoint of the run."
        ) from error
    plain: dict[str, Any] = found
    return plain


def read_whole(folder: Path) -> dict[str, Any]:
    """Reads a checkpoint and puts its shards together, without other ranks.

    Raises:
        CheckpointError: A part of it is missing or damaged.
    """
    plain = read_plain(folder)
    tensors = {name: torch.empty(shape, dtype=d) for name, (shape, d) in sizes(folder).items()}
    read_shards(folder, tensors, alone=True)
    return with_shards(plain, tensors)


def sizes(folder: Path) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Tells shape and format of the whole tensors that lie in shards."""
    try:
        metadata = HuggingFaceStorageReader(str(folder)).read_metadata()
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"A shard in {folder} is damaged ({error}). Use another checkpoint of the run."
        ) from error
    found: dict[str, Any] = metadata.state_dict_metadata
    return {name: (about.size, about.properties.dtype) for name, about in found.items()}


def read_shards(folder: Path, tensors: dict[str, Any], *, alone: bool = False) -> None:
    """Fills tensors, whole or cut, from the shards of a checkpoint.

    Args:
        folder: The checkpoint.
        tensors: By their names among the shards; filled in place.
        alone: Whether this process reads by itself; otherwise all ranks come here at once.

    Raises:
        CheckpointError: A shard is missing or damaged.
    """
    reader = HuggingFaceStorageReader(str(folder))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*single process.*")
            load(tensors, storage_reader=reader, no_dist=alone)
    except (OSError, SafetensorError, ValueError, KeyError, CheckpointException) as error:
        raise CheckpointError(
            f"A shard in {folder} is missing or damaged ({error}). Use another checkpoint of the"
            " run."
        ) from error


def with_shards(plain: Mapping[str, Any], tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Puts tensors in the places of their names."""

    def put(value: Any, _name: str) -> Any:
        return tensors.get(value, value) if isinstance(value, str) else value

    return {
        key: replaced(value, put, key) if key in TREES else value for key, value in plain.items()
    }


def replaced(tree: Any, function: Callable[[Any, str], Any], name: str) -> Any:
    """Replaces the leaves of nested dictionaries and lists; the function gets leaf and name."""
    if isinstance(tree, Mapping):
        return {key: replaced(value, function, f"{name}.{key}") for key, value in tree.items()}
    if isinstance(tree, list):
        return [replaced(value, function, f"{name}.{i}") for i, value in enumerate(tree)]
    return function(tree, name)


class _Taken:
    """Takes shards out of a tree, a tied one once, and leaves their names."""

    def __init__(self) -> None:
        self.shards: dict[str, Any] = {}
        self._names: dict[int, str] = {}

    def __call__(self, value: Any, name: str) -> Any:
        if not isinstance(value, Tensor):
            return value
        if not isinstance(value, DTensor):
            return value.detach().cpu()
        if id(value) not in self._names:
            self._names[id(value)] = name
            self.shards[name] = value.detach()
        return self._names[id(value)]
