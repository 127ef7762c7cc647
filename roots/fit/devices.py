"""Which devices a run computes on."""

from __future__ import annotations

import os

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from roots.errors import ConfigError


def resolve_devices(
    accelerator: str, devices: int | str | list[int], num_nodes: int
) -> tuple[torch.device, int, int]:
    """Finds the device of this process, the devices of this machine and the machines.

    Under torchrun and SLURM's srun, these have decided.

    Raises:
        ConfigError: There is no such device, or srun was not told of the processes per machine.
    """
    kinds = {"gpu": "cuda", "cuda": "cuda", "cpu": "cpu", "mps": "mps", "auto": _best_kind()}
    if accelerator not in kinds:
        raise ConfigError(
            f"There is no accelerator {accelerator!r}. Set trainer.accelerator to auto, cpu, gpu or"
            " mps."
        )
    kind = kinds[accelerator]
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "accelerator=gpu, and torch sees no GPU. Set trainer.accelerator to cpu, or install a"
            " torch with CUDA and check that nvidia-smi lists the GPU."
        )
    if devices == []:
        raise ConfigError(
            "devices=[] names no device. Set trainer.devices to auto, to a number from 1 on, or to"
            " a list such as [0, 2]."
        )
    if "TORCHELASTIC_RUN_ID" in os.environ:
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        return torch.device(kind), local, int(os.environ["WORLD_SIZE"]) // local
    if SLURMEnvironment.detect():
        return torch.device(kind), *_as_srun_says()
    if isinstance(devices, list):
        name = f"{kind}:{devices[0]}" if kind == "cuda" else kind
        return torch.device(name), len(devices), num_nodes
    if devices in ("auto", "-1", -1):
        return torch.device(kind), torch.cuda.device_count() if kind == "cuda" else 1, num_nodes
    return torch.device(kind), _number_of_devices(devices), num_nodes


def _as_srun_says() -> tuple[int, int]:
    """Reads the processes on this machine and the machines from what srun has set."""
    n_processes = int(os.environ["SLURM_NTASKS"])
    local = int(os.environ.get("SLURM_NTASKS_PER_NODE", "1"))
    machines = int(os.environ.get("SLURM_NNODES", "1"))
    if local * machines != n_processes:
        raise ConfigError(
            f"SLURM starts {n_processes} processes on {machines} machines with {local} on each, as"
            " far as it was told. Set #SBATCH --ntasks-per-node to the devices of a machine, and"
            " leave --ntasks out; configs/launch/slurm.sbatch is an example."
        )
    return local, machines


def _number_of_devices(devices: int | str) -> int:
    if not str(devices).isdigit() or int(devices) < 1:
        raise ConfigError(
            f"devices={devices!r} is no number of devices. Set trainer.devices to auto, to a number"
            " from 1 on, or to a list such as [0, 2]."
        )
    return int(devices)


def _best_kind() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
