"""Published weights, handed over one by one: no rank ever holds more than one of them whole."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from functools import reduce
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from roots.networks.drawing import Give, forget_initialized


def read_one_by_one(skeleton: PreTrainedModel, folder: Path, give: Give) -> bool:
    """Reads a network's weights from *.safetensors and hands them over, and then its buffers.

    Args:
        skeleton: On the meta device; it is used up.
        folder: A Hugging Face folder.
        give: Takes each tensor, in the format that the file has.

    Returns:
        Whether the files have every weight, under its name in the network (or that without the
        body's prefix) and in its shape. Otherwise nothing was given: transformers has to rename,
        merge or refuse them.
    """
    shapes, files = _wanted(skeleton), _files_by_name(folder)
    found = {name: _name_in_files(name, skeleton, files) for name in shapes}
    if any(there not in files for there in found.values()):
        return False
    if any(_shape(files[found[name]], found[name]) != shape for name, shape in shapes.items()):
        return False
    for name, there in found.items():
        give(name, _tensor(files[there], there))
    for name, buffer in _fresh_buffers(skeleton):
        if name not in found:
            give(name, buffer)
    return True


def untied_in(folder: Path, skeleton: PreTrainedModel) -> frozenset[str]:
    """Names the weights that a network ties, and that have values of their own in its files.

    The head of a T5 1.1, of an mT5 and of a Flan-T5 is one: transformers ties it by their
    configuration, and leaves it alone when it has read the files.

    Args:
        folder: A Hugging Face folder; where its weights cannot be read by name, none is named.
        skeleton: On the meta device.
    """
    keys = skeleton.all_tied_weights_keys
    files = _files_by_name(folder) if keys else {}
    both = [(name, first) for name, first in keys.items() if {name, first} <= files.keys()]
    return frozenset(
        name
        for name, first in both
        if not torch.equal(_tensor(files[name], name), _tensor(files[first], first))
    )


def untie(skeleton: PreTrainedModel, names: Collection[str]) -> None:
    """Gives weights that a network ties a place of their own, as transformers does for files."""
    for name in names:
        module, _, attribute = name.rpartition(".")
        tied = skeleton.get_parameter(name)
        own = nn.Parameter(torch.empty_like(tied), requires_grad=tied.requires_grad)
        setattr(skeleton.get_submodule(module), attribute, own)
        del skeleton.all_tied_weights_keys[name]


def dtype_of_files(folder: Path) -> torch.dtype | None:
    """Tells in which dtype a network's weights lie, by the heads of its files.

    Its config.json may name another one. Of several it is the widest, which keeps them all.

    Returns:
        None where the files hold numbers that only their quantisation understands, or no weights.
    """
    found: set[str] = set()
    try:
        for path in _weight_files(folder):
            with safe_open(path, framework="pt") as file:
                found |= {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, TypeError, KeyError, SafetensorError):
        return None  # whoever loads them tells what is wrong
    floating = [_FLOATING[name] for name in sorted(found & _FLOATING.keys())]
    if not floating or found - _FLOATING.keys() - {"I64", "BOOL"}:  # which buffers are of
        return None
    return reduce(torch.promote_types, floating)


def files_read(folder: Path) -> list[Path]:
    """Lists a folder's *.safetensors that are read; others may lie beside a network's."""
    try:
        return _weight_files(folder)
    except (OSError, ValueError, KeyError, TypeError):  # of an adapter, or under other names
        return sorted(folder.glob("*.safetensors"))


def _weight_files(folder: Path) -> list[Path]:
    """Lists the files that transformers reads: the only one, or those that the index names."""
    whole, index = folder / SAFE_WEIGHTS_NAME, folder / SAFE_WEIGHTS_INDEX_NAME
    if whole.is_file():
        return [whole]
    names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    return [folder / name for name in sorted({*names})]


_FLOATING = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}


def _wanted(skeleton: PreTrainedModel) -> dict[str, tuple[int, ...]]:
    """Lists what a file must have: parameters, tied ones once, and buffers that are saved."""
    saved = skeleton.state_dict(keep_vars=True)
    seen: set[int] = set()
    wanted = {}
    for name, tensor in saved.items():
        if id(tensor) not in seen:
            wanted[name] = tuple(tensor.shape)
        seen.add(id(tensor))
    return wanted


def _tensor(path: Path, name: str) -> Tensor:
    with safe_open(path, framework="pt") as file:
        tensor: Tensor = file.get_tensor(name)
    return tensor


def _files_by_name(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    try:
        paths = _weight_files(folder)
    except (OSError, ValueError, TypeError, KeyError):
        return files  # an adapter's folder, or whoever loads it whole tells what is wrong
    for path in paths:
        with safe_open(path, framework="pt") as file:
            files |= dict.fromkeys(file.keys(), path)
    return files


def _name_in_files(name: str, skeleton: PreTrainedModel, files: dict[str, Path]) -> str:
    return name if name in files else name.removeprefix(f"{skeleton.base_model_prefix}.")


def _shape(path: Path, name: str) -> tuple[int, ...]:
    with safe_open(path, framework="pt") as file:
        return tuple(file.get_slice(name).get_shape())


@torch.no_grad()
def _fresh_buffers(skeleton: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Computes the buffers (rotary frequencies) by the network's initialisation of nothing else."""
    forget_initialized(skeleton)
    for module in skeleton.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty_like(buffer, device="cpu")
        for parameter in module.parameters(recurse=False):
            parameter._is_hf_initialized = True
    with torch.random.fork_rng(devices=[]):
        skeleton.initialize_weights()
    yield from skeleton.named_buffers()
