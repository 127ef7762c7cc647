"""DeepSpeed, imported here and nowhere else: its engine, and tensors that it holds in parts."""

from __future__ import annotations

import importlib
import logging
import os
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from roots.errors import ConfigError, MissingExtra


def package(kind: str) -> Any:
    """Imports DeepSpeed for devices of a kind.

    Args:
        kind: `cpu` or `cuda`.

    Raises:
        MissingExtra: It is not installed.
    """
    os.environ.setdefault("DS_ACCELERATOR", kind)  # read where nothing imported it before
    try:
        deepspeed = importlib.import_module("deepspeed")
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "trainer.strategy deepspeed needs the package deepspeed, which is not installed."
            " Install it (pip install 'roots-lm[deepspeed]', or pip install -e '.[deepspeed]' in a"
            " clone), or set trainer.strategy to fsdp, which cuts the same without it."
        ) from error
    devices = importlib.import_module("deepspeed.accelerator")
    if devices.get_accelerator()._name != kind:
        made = importlib.import_module(f"deepspeed.accelerator.{kind}_accelerator")
        devices.set_accelerator(getattr(made, f"{kind.upper()}_Accelerator")())
    deepspeed.utils.logger.setLevel(logging.ERROR)
    for name in ("all_gather_into_tensor", "reduce_scatter_tensor"):  # it calls them in each step
        warnings.filterwarnings("ignore", message=f".*{name}. is deprecated.*")
    # sums over processes of one machine for inference: nothing of ours, and minutes to compile
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


def check_disk(deepspeed: Any) -> None:
    """Raises ConfigError where DeepSpeed cannot write to a disk beside the computation."""
    if not deepspeed.ops.op_builder.AsyncIOBuilder().is_compatible(verbose=False):
        raise ConfigError(
            "Offload to nvme needs DeepSpeed's async_io, which cannot be built here: it needs the"
            " headers of libaio (package libaio-dev). Install them, or offload to cpu."
        )


def start_engine(
    deepspeed: Any,
    network: nn.Module,
    optimizer: Optimizer | None,
    config: Mapping[str, Any],
    *,
    device: torch.device,
    local_rank: int,
) -> Any:
    """Gives a network to DeepSpeed, which cuts what the stage cuts; all ranks come here at once.

    Args:
        deepspeed: The package.
        network: What is run in one forward pass, whole, on its device; changed in place.
        optimizer: Torch's, over its parameters; None where the network is only asked.
        config: DeepSpeed's configuration.
        device: The device of this process.
        local_rank: The number of this process on this machine.
    """
    deepspeed.init_distributed(dist_init_required=False, verbose=False)
    with _local_rank(local_rank):
        engine, *_ = deepspeed.initialize(
            args=Namespace(device_rank=device.index or 0),
            model=network,
            optimizer=optimizer,
            model_parameters=[p for p in network.parameters() if p.requires_grad],
            config=dict(config),
            dist_init_required=False,
        )
    return engine


@contextmanager
def _local_rank(rank: int) -> Iterator[None]:
    """Sets what DeepSpeed reads; left there, it would tell the next run that it was launched."""
    before = os.environ.get("LOCAL_RANK")
    os.environ["LOCAL_RANK"] = str(rank)
    try:
        yield
    finally:
        if before is None:
            del os.environ["LOCAL_RANK"]


def gather(
    deepspeed: Any, *, keep: bool, to_host: Callable[[Tensor], Tensor] = Tensor.cpu
) -> Callable[[Any, str], Any]:
    """Makes what gives tensors whole, on the host, a tied one once; all ranks call it alike.

    Args:
        deepspeed: The package.
        keep: Whether this rank wants them; others get None.
        to_host: How each comes to the host.
    """
    done: dict[int, Tensor | None] = {}

    def whole(tensor: Any, _name: str) -> Any:
        if not isinstance(tensor, Tensor):
            return tensor
        if id(tensor) not in done:
            cut = [tensor] if hasattr(tensor, "ds_id") else []
            with deepspeed.zero.GatheredParameters(cut, enabled=bool(cut)):
                # a clone: the tensor may be a view of all weights, or gone after this block
                done[id(tensor)] = to_host(tensor.detach().clone()) if keep else None
        return done[id(tensor)]

    return whole
