"""Compiles a network in place, so that the keys of its state stay as they are.

Blocks are compiled one by one from one graph: start-up is short and gradients of a block are ready
before the next block's. A network as a whole is one graph: the compiler sees across blocks.
"""

from __future__ import annotations

import os
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from roots.errors import ConfigError, nearest
from roots.networks.blocks import blocks_of

COMPILE = ("none", "blocks", "network")


def check_compile(mode: str) -> None:
    """Raises ConfigError when there is no such mode."""
    if mode not in COMPILE:
        raise ConfigError(
            f"There is no compile: {mode}{nearest(mode, COMPILE)}."
            f" Set model.compile to one of {', '.join(COMPILE)}."
        )


def compile_network(
    network: PreTrainedModel, mode: str, device: torch.device, *, n_shapes: int = 1
) -> None:
    """Marks a network's blocks, or the whole of its body, for compilation on their first call.

    Args:
        network: Changed in place; names and weights stay.
        mode: One of `COMPILE`.
        device: Where it computes.
        n_shapes: Shapes that the steps of the training will have; each is compiled by itself.

    Raises:
        ConfigError: The compiler lacks what it needs on this machine, or no blocks are found.
    """
    check_compile(mode)
    if mode == "none":
        return
    prepare_compiler(device)
    _allow_graphs(n_shapes * _kinds_of_blocks(network))
    if mode == "blocks":
        parts = _blocks_to_compile(network)
    else:
        parts = _bodies(network)
        for part in parts:
            _make_rotary_angles_once(part)
    for part in parts:
        part.compile(dynamic=False)


def _bodies(network: PreTrainedModel) -> list[nn.Module]:
    """Finds what is called of a network's body, whoever calls it.

    Encoder and decoder are called apart, and the heads of OPT, and of BART as a language model,
    call a decoder within the body. What holds all the blocks is no mere part of what is called.
    """
    decoder = network.get_decoder()
    if network.config.is_encoder_decoder:
        return [network.get_encoder(), decoder]
    whole = isinstance(decoder, PreTrainedModel) and {*blocks_of(network)} <= {*decoder.modules()}
    return [decoder if whole else network.base_model]


def _allow_graphs(n_kinds: int) -> None:
    """Lets the compiler make, of each shape and kind of block, as many graphs as by default: 8.

    Behind its limit it runs what is new as plain code: the longest rows, the largest micro-batches,
    or blocks of one kind.
    """
    from torch._dynamo import config

    config.recompile_limit = max(config.recompile_limit, 8 * n_kinds)


def _kinds_of_blocks(network: PreTrainedModel) -> int:
    """Counts blocks that are compiled apart, since weights or input have a gradient in one alone.

    Where some weights are kept as they are, those are the lowest blocks, the first that is trained,
    whose input has no gradient, and the others.
    """
    return 1 if all(p.requires_grad for p in network.parameters()) else 3


def _make_rotary_angles_once(body: nn.Module) -> None:
    """Keeps the compiler from making sines and cosines anew for every head of every layer.

    They are cheap in its count of operations, so it fuses them into each place that reads them,
    forward and backward: a tenth of a step on a CPU. What an operator of ours returns is kept.
    """
    for module in body.modules():
        if "RotaryEmbedding" in type(module).__name__:
            module.register_forward_hook(_as_it_is)


def _as_it_is(_module: nn.Module, _args: Any, output: Any) -> Any:
    if isinstance(output, Tensor):
        return keep_apart(output)
    return tuple(keep_apart(part) for part in output)


@torch.library.custom_op("roots::keep_apart", mutates_args=())
def keep_apart(tensor: Tensor) -> Tensor:
    """Copies a tensor, by an operator that no compiler looks into."""
    return tensor.clone()


@keep_apart.register_fake
def _(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor)


def _blocks_to_compile(network: PreTrainedModel) -> list[nn.Module]:
    blocks = blocks_of(network)
    if not blocks:
        raise ConfigError(
            f"{type(network).__name__} has no repeated blocks that could be compiled one by one."
            " Set model.compile to network, or to none."
        )
    return blocks


def prepare_compiler(device: torch.device) -> None:
    """Says where torch keeps what it compiles, and checks that it can compile here."""
    keep_compiled()
    check_compiler(device)
    # the compiler looks at the gradient of each block's input, which has none
    warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a leaf")


def check_compiler(device: torch.device) -> None:
    """Raises ConfigError, with the package to install, when torch cannot compile for a device."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler
    from torch.utils._triton import has_triton

    try:
        get_cpp_compiler()
    except (InvalidCxxCompiler, RuntimeError) as error:
        raise ConfigError(
            "model.compile needs a C++ compiler, and none is found. Install one (g++ on Debian and"
            " Ubuntu, Xcode's command line tools on macOS), name it in the variable CXX, or set"
            " model.compile to none."
        ) from error
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.exists():
        raise ConfigError(
            f"model.compile needs Python's headers, and {header} does not exist. Install them"
            " (python3-dev on Debian and Ubuntu), or set model.compile to none."
        )
    if device.type == "cuda" and not has_triton():
        raise ConfigError(
            "model.compile needs the package triton on CUDA, which is not installed. Install it"
            " (pip install triton), or set model.compile to none."
        )


def keep_compiled() -> None:
    """Keeps what was compiled in a folder of its own, for the next run of the same network.

    A folder named in TORCHINDUCTOR_CACHE_DIR wins. Otherwise torch takes the machine's temporary
    folder, which a restart or another user's clean-up empties, and writes it into that variable as
    soon as its compiler is imported.
    """
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    if os.environ.get("TORCHINDUCTOR_CACHE_DIR") in (None, default_cache_dir()):
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache_folder() / "compiled")


def cache_folder() -> Path:
    """The folder of what one run leaves for the next: XDG_CACHE_HOME/roots, or ~/.cache/roots."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "roots"


@dataclass(frozen=True)
class CompiledSoFar:
    """What torch's compiler has done in this process.

    Args:
        graphs: Graphs that it made; one piece of code has several when it is compiled again.
        breaks: Why it could not go on with a graph, and how often.
    """

    graphs: int
    breaks: dict[str, int]


def compiled_so_far() -> CompiledSoFar:
    """Reads the compiler's own counts."""
    from torch._dynamo.utils import counters

    breaks = {" ".join(why.split()): n for why, n in counters["graph_break"].items()}
    return CompiledSoFar(counters["stats"]["unique_graphs"], breaks)


def is_compiled(network: nn.Module) -> bool:
    """Tells whether a module or a part of it is compiled."""
    return any(module._compiled_call_impl is not None for module in network.modules())


@contextmanager
def uncompiled(network: nn.Module) -> Iterator[None]:
    """Runs what is compiled as plain Python: generation would be compiled anew for each length."""
    if not is_compiled(network):
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
