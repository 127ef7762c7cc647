"""A checkpoint that no rank ever holds whole: a *.safetensors per rank, and the rest beside them.

    plain.pt             settings, counters, progress; names of shards in their places
    shard-*.safetensors  what a rank held, and where in the whole it belongs

torch.distributed.checkpoint writes and reads the shards, in the format that has no pickle in it; so
they are cut anew for as many ranks as read them, or put together for one.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.checkpoint._hf_utils import CUSTOM_METADATA_KEY, SAVED_OFFSETS_KEY
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor
from torch.futures import Future

from roots.errors import CheckpointError, first_line

PLAIN = "plain.pt"
FILES = "shard_files"
"""Beside what is plain: the shards there are, and how many bytes they have."""

AVERAGE = "weight_average"
"""Where a checkpoint has the average of the weights, by the names of parameters, in float32."""

VERSION = {"DCP_VERSION": "1.0", "format": "pt"}
"""What torch.distributed.checkpoint says in its safetensors files."""

TREES = ("state_dict", "optimizer_states", AVERAGE)
"""The parts of a checkpoint that have shards in them."""


def write_file(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Writes a file of plain values and tensors, tensor by tensor.

    Raises:
        OSError: The disk did not take it.
    """
    with path.open("wb") as opened:
        file: Any = _Noting(opened)
        try:
            torch.save(checkpoint, file)
        except RuntimeError:  # torch goes on after the system's error, and stumbles
            if file.error is None:
                raise
            raise file.error from None


class _Noting:
    """A file that keeps the error of a write: torch loses it.

    Args:
        file: Open for writing.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.flush = file.flush
        self.error: OSError | None = None
        self._write = file.write

    def write(self, data: Any) -> int:
        try:
            return self._write(data)
        except OSError as error:
            self.error = self.error or error
            raise


def write_shards(
    checkpoint: Mapping[str, Any], folder: Path, *, first: bool, group: Any = None
) -> None:
    """Writes a checkpoint, each rank its shards; all ranks come here at once.

    Args:
        checkpoint: Tensors that are whole everywhere, shards, and plain values.
        folder: Made if it is not there.
        first: Whether this rank writes what is no shard.
        group: The ranks, by a group of the host's; None takes the one of the run.

    Raises:
        OSError: The disk of one of the ranks did not take it; all ranks learn of it.
    """
    taken = _Taken()
    plain = {
        key: replaced(value, taken, key) if key in TREES else value
        for key, value in checkpoint.items()
    }
    writer = _ShardWriter(str(folder), save_distributed=True)
    try:
        save(taken.shards, storage_writer=writer, process_group=group)
    except CheckpointException as error:  # no Exception, by torch's choice
        raise _first_failure(error) from error
    if first:
        write_file({**plain, FILES: _bytes_by_name(folder)}, folder / PLAIN)


class _ShardWriter(HuggingFaceStorageWriter):
    """Writes a rank's shards from where they lie.

    torch's own makes the file in memory before, and no other thread of Python runs meanwhile.
    """

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[Any]]:
        """Writes one file, if this rank has shards at all."""
        shards: dict[str, Tensor] = {}
        offsets: dict[str, Any] = {}
        for item in plan.items:
            name, about = item.index.fqn, item.tensor_data
            assert name not in shards, name
            tensor = planner.resolve_data(item)
            assert about is not None
            assert isinstance(tensor, Tensor)
            shards[name] = tensor.detach().cpu().contiguous()
            offsets[name] = {SAVED_OFFSETS_KEY: about.chunk.offsets}
        if shards:
            told = {CUSTOM_METADATA_KEY: json.dumps(offsets), **VERSION}
            name = f"shard-{plan.storage_data['shard_index']:05d}-model-00001-of-00001.safetensors"
            save_file(shards, Path(self.path) / name, metadata=told)
        done: Future[list[Any]] = Future()
        done.set_result([])
        return done


def _first_failure(error: CheckpointException) -> Exception:
    """Gives what went wrong on the first of the ranks where something did."""
    rank = min(error.failures)
    cause = error.failures[rank][0]
    if isinstance(cause, (OSError, SafetensorError)):
        return OSError(f"rank {rank}: {cause}")
    return RuntimeError(f"rank {rank}: {cause!r}")


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
        raise CheckpointError(
            f"{path} cannot be read as plain values and tensors: {first_line(error)} It is damaged,"
            " or it holds pickled objects, which roots never writes and never loads, since loading"
            " them runs code of whoever wrote them. Use another checkpoint of the run."
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
