"""Times the attention of a layer, by name, and remembers the times for later runs."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers.masking_utils import eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from roots.networks.compiling import cache_folder, prepare_compiler
from roots.runs import write_atomically

ROUNDS = 7


@dataclass(frozen=True)
class Shapes:
    """What a run asks of each attention layer.

    Args:
        rows: Sequences in a micro-batch.
        seq_len: Tokens in a sequence.
        dtype: The format of the products.
        device: Where they are made.
        compiled: Whether the layers are compiled.
    """

    rows: int
    seq_len: int
    dtype: torch.dtype
    device: torch.device
    compiled: bool


@dataclass(frozen=True)
class Layer:
    """An attention layer, and how the network calls it.

    Args:
        module: The layer.
        heads: Query heads, key heads.
        widths: Width of a query and key, of a value.
        arguments: What else it is given.
    """

    module: nn.Module
    heads: tuple[int, int]
    widths: tuple[int, int]
    arguments: dict[str, Any]


def measure(layer: Layer, shapes: Shapes, names: list[str]) -> dict[str, float]:
    """Times forward and backward of one layer's attention, by name, in milliseconds.

    They take turns, so that what else the machine does meets all of them.
    """
    if shapes.compiled:
        prepare_compiler(shapes.device)
    calls = {name: _call(layer, shapes, name) for name in names}
    for call in calls.values():
        call(), call()
    taken: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            taken[name].append(1e3 * (time.perf_counter() - began))
    return {name: statistics.median(ms) for name, ms in taken.items()}


def _call(layer: Layer, shapes: Shapes, name: str) -> Callable[[], None]:
    found = ALL_ATTENTION_FUNCTIONS.get_interface(name, own_eager(layer.module))
    function: Callable[..., Any] = found
    function = torch.compile(function, dynamic=False) if shapes.compiled else function
    query, key, value = _inputs(layer, shapes)
    mask = _mask(shapes) if name == "eager" else None
    arguments = {**layer.arguments, "dropout": 0.0}
    ends = torch.ones((), dtype=shapes.dtype, device=shapes.device)

    def forward_and_backward() -> None:
        out = function(layer.module, query, key, value, mask, **arguments)[0]
        out.backward(ends.expand_as(out))
        query.grad = key.grad = value.grad = None
        if shapes.device.type == "cuda":
            torch.cuda.synchronize(shapes.device)

    return forward_and_backward


def _inputs(layer: Layer, shapes: Shapes) -> list[Tensor]:
    n_heads, n_key_heads = layer.heads
    width, value_width = layer.widths
    sizes = ((n_heads, width), (n_key_heads, width), (n_key_heads, value_width))
    made = [
        torch.randn(shapes.rows, shapes.seq_len, *size, dtype=torch.float32)
        .to(shapes.device, shapes.dtype)
        .transpose(1, 2)  # B H T K, as a projection leaves it
        for size in sizes
    ]
    return [tensor.detach().requires_grad_() for tensor in made]


def _mask(shapes: Shapes) -> Tensor:
    mask: Tensor = eager_mask(
        batch_size=shapes.rows,
        q_length=shapes.seq_len,
        kv_length=shapes.seq_len,
        dtype=shapes.dtype,
        device=shapes.device,
    )
    return mask


def own_eager(module: nn.Module) -> Callable[..., Any] | None:
    """Finds the eager attention of a family: it stands beside the layer's class."""
    return getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)


# -- remembering ---------------------------------------------------------------------------------


def key_of(layer: Layer, shapes: Shapes, names: list[str]) -> str:
    """Names all that the times depend on."""
    about: dict[str, Any] = {k: str(v) for k, v in asdict(shapes).items()}
    on_gpu = shapes.device.type == "cuda"
    about |= {
        "device": torch.cuda.get_device_name(shapes.device) if on_gpu else _processor(),
        "heads": layer.heads,
        "widths": layer.widths,
        "layer": type(layer.module).__name__,
        "names": names,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    return json.dumps(about, sort_keys=True)


def _processor() -> str:
    return (
        f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} of {os.cpu_count()}"
    )


def remembered() -> dict[str, dict[str, float]]:
    """Reads the file; one that cannot be read is as good as none."""
    try:
        known = json.loads((cache_folder() / "attention.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def remember(key: str, milliseconds: dict[str, float]) -> None:
    """Adds to the file; a home that cannot be written to costs the next run a second."""
    text = json.dumps({**remembered(), key: milliseconds}, indent=1) + "\n"
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        write_atomically(cache_folder() / "attention.json", text)
    except OSError:
        return
