"""What a checkpoint may hold: plain values and tensors, which load without running code."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from roots.errors import ConfigError
from roots.strategies.sharded_files import AVERAGE

TENSORS = ("state_dict", AVERAGE)
"""Parts of a checkpoint that hold nothing but tensors."""

OF_DATA = (
    L.LightningDataModule.CHECKPOINT_HYPER_PARAMS_KEY,
    L.LightningDataModule.CHECKPOINT_HYPER_PARAMS_NAME,
    L.LightningDataModule.CHECKPOINT_HYPER_PARAMS_TYPE,
)
"""What `save_hyperparameters` of a data module adds: config.yaml has it, and nothing reads it."""


def plain_state(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Makes numbers of numpy and paths plain, and leaves out a data module's hyperparameters.

    Args:
        checkpoint: What Lightning and its hooks put together.

    Raises:
        ConfigError: A value would be pickled as an object, and refused when it is read.
    """
    plain = {
        key: value if key in TENSORS else _replaced(value, _as_plain)
        for key, value in checkpoint.items()
        if key not in OF_DATA
    }
    for whose, state in _parts(plain):
        if why := _why_unreadable(_replaced(state, _without_tensors)):
            raise ConfigError(
                f"{whose} holds what a checkpoint cannot: {why}. Checkpoints have numbers, texts,"
                " None, lists, dictionaries and tensors alone, since other objects run code when"
                " they are read. Give such values in its state_dict (an array as .tolist() or as a"
                " tensor), and make the object of them in load_state_dict."
            )
    return plain


def _parts(checkpoint: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in checkpoint.items():
        if key == "callbacks":
            yield from (
                (f"The state of the callback {name}", state) for name, state in value.items()
            )
        elif key not in TENSORS:
            yield f"{key!r} in the checkpoint", value


def _replaced(tree: Any, leaf: Callable[[Any], Any]) -> Any:
    """Replaces what is in nested dictionaries, lists and tuples, and leaves their kinds."""
    if type(tree) in (dict, OrderedDict):
        return type(tree)((leaf(key), _replaced(value, leaf)) for key, value in tree.items())
    if type(tree) in (list, tuple):
        return type(tree)(_replaced(value, leaf) for value in tree)
    return leaf(tree)


def _as_plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, PurePath) else value


def _without_tensors(value: Any) -> Any:
    return None if isinstance(value, Tensor) else value


def _why_unreadable(tree: Any) -> str:
    """Says what torch would not read again of values, by trying it; nothing where it would."""
    written = io.BytesIO()
    try:
        torch.save(tree, written)
    except Exception as error:  # whatever an object's own way to be pickled raises
        return str(error)
    written.seek(0)
    try:
        torch.load(written, weights_only=True)
    except Exception as error:  # torch and pickle raise many kinds
        return _object_named_in(str(error))
    return ""


def _object_named_in(message: str) -> str:
    """Gives the name of the class in what torch says at length."""
    words = message.replace("GLOBAL", "global").split("global ")
    return words[1].split()[0] if len(words) > 1 else message.strip().splitlines()[0]
