"""Counts where a host would wait for an accelerator, on a machine that has none.

Everything that a run computes on is a CPU tensor here, so an accelerator is imagined: what a batch
brings to it and the weights lie on it, and so does what is computed from these or made on the run's
device. The modes see each operation of torch and each method of a tensor; those whose result the
host, or the size of a tensor, depends on are waits.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READS = {  # what makes Python values or host arrays of a tensor
    "item",
    "tolist",
    "numpy",
    "cpu",
    "__bool__",
    "__float__",
    "__int__",
    "__index__",
    "__array__",
    "__contains__",
    "__repr__",
    "__format__",
}
SIZES = {  # whose result has a size that depends on values
    "_local_scalar_dense",
    "is_nonzero",
    "equal",
    "nonzero",
    "masked_select",
    "unique_consecutive",
    "_unique2",
    "unique_dim",
    "repeat_interleave",
    "bincount",
    "allclose",
}
MAKERS = {"tensor", "as_tensor", "asarray", "from_numpy"}  # host values, copied at once


@dataclass
class Waits:
    """What was found, in order: the operation and who asked for it."""

    on_host: list[Tensor] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    _inside: int = 0

    def note(self, name: str, values: Any) -> None:
        """Notes an operation when it reads a tensor that is not the host's."""
        tensors = [value for value in tree_leaves(values) if isinstance(value, Tensor)]
        if self._inside == 0 and any(not self._is_on_host(tensor) for tensor in tensors):
            self.found.append(f"{name} at {_caller()}")

    def keep_on_host(self, tensor: Tensor) -> None:
        """Takes a tensor for one that is on the host."""
        self.on_host.append(tensor)

    def _is_on_host(self, tensor: Tensor) -> bool:
        here = tensor.untyped_storage().data_ptr()
        return any(here == known.untyped_storage().data_ptr() for known in self.on_host)


class _Methods(TorchFunctionMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(function, "__name__", "")
        if name in MAKERS and "device" in kwargs:
            self.waits.found.append(f"{name}(…, device=…) at {_caller()}")
        if name in READS:
            self.waits.note(name, (args, kwargs))
            self.waits._inside += 1  # what it does inside is the same wait
        try:
            result = function(*args, **kwargs)
        finally:
            self.waits._inside -= name in READS
        if name in MAKERS and "device" not in kwargs:
            self.waits.keep_on_host(result)
        return result


class _Operations(TorchDispatchMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        name = operation._schema.name.removeprefix("aten::")
        by_mask = name.startswith("index") and any(
            isinstance(index, Tensor) and index.dtype == torch.bool for index in tree_leaves(args)
        )
        if name in SIZES or by_mask:
            self.waits.note(name, (args, kwargs))
        return operation(*args, **(kwargs or {}))


@contextmanager
def counted_waits() -> Iterator[Waits]:
    """Notes the waits of this thread's torch while the block runs."""
    waits = Waits()
    barrier = torch.distributed.barrier

    def noted(*args: Any, **kwargs: Any) -> Any:
        waits.found.append(f"barrier at {_caller()}")
        return barrier(*args, **kwargs)

    with _Methods(waits), _Operations(waits), patch.object(torch.distributed, "barrier", noted):
        yield waits


def _caller() -> str:
    """Names the innermost line outside torch and this file."""
    frames = [
        frame
        for frame in traceback.extract_stack()
        if "/torch/" not in frame.filename and not frame.filename.endswith("/waits.py")
    ]
    last = frames[-1]
    return f"{last.filename.rpartition('/')[2]}:{last.lineno} {last.name}"
