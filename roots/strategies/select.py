"""From a name to a strategy."""

from __future__ import annotations

from typing import Any

import torch

from roots.errors import ConfigError
from roots.strategies.ddp import DDP
from roots.strategies.deepspeed import DeepSpeed
from roots.strategies.fsdp import FSDP
from roots.strategies.protocol import StepStrategy
from roots.strategies.single_device import SingleDevice

STRATEGIES = ("auto", "single_device", "ddp", "fsdp", "hsdp", "tensor_parallel", "deepspeed")

CUTTING: dict[str, dict[str, Any]] = {
    "fsdp": {},
    "hsdp": {"replicas": 0},
    "tensor_parallel": {"tensor_parallel": 2},
}
"""What the names of strategies that cut weights set in `FSDP`."""


def strategy_named(name: str, device: torch.device, n_processes: int) -> StepStrategy:
    """Makes the strategy of a name; `auto` is one device, or DDP over several.

    `hsdp` is `fsdp` with a copy of the network on each machine; in `tensor_parallel` two ranks
    share the layers of a network, and `fsdp` cuts it over such pairs.

    Args:
        name: One of `STRATEGIES`.
        device: The device of a run on one.
        n_processes: Devices over all machines.

    Raises:
        ConfigError: There is no strategy of that name, or it does not fit the devices.
    """
    if name not in STRATEGIES:
        raise ConfigError(
            f"There is no strategy {name!r}. Set trainer.strategy to one of"
            f" {', '.join(STRATEGIES)}, or give a class_path."
        )
    if name == "single_device" and n_processes > 1:
        raise ConfigError(
            f"strategy=single_device cannot use {n_processes} devices."
            " Set trainer.devices to 1, or trainer.strategy to ddp."
        )
    if name in (*CUTTING, "deepspeed") and device.type not in ("cpu", "cuda"):
        raise ConfigError(
            f"strategy={name} cannot cut a run over devices of the kind {device.type}. Set"
            " trainer.accelerator to gpu or cpu, or trainer.strategy to auto."
        )
    if name == "deepspeed":
        return DeepSpeed()
    if name in CUTTING:
        return FSDP(**CUTTING[name])
    if name == "ddp" or n_processes > 1:
        return DDP()
    return SingleDevice(device=str(device))
