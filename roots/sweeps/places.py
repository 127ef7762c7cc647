"""What a trial may use of the machine: its GPUs, or its share of the cores."""

from __future__ import annotations

import os
from collections.abc import Mapping

from roots.errors import ConfigError


def check_places(workers: int, gpus_per_trial: int) -> None:
    """Refuses places that cannot be.

    Args:
        workers: How many trials run at once.
        gpus_per_trial: GPUs of each; 0 lets all trials see all.

    Raises:
        ConfigError: There are none, or not that many GPUs.
    """
    if workers < 1 or gpus_per_trial < 0:
        raise ConfigError(
            f"workers={workers} and gpus_per_trial={gpus_per_trial}: set the first to 1 or more,"
            " and the second to 0 or more."
        )
    environment_of(0, workers, gpus_per_trial)


def environment_of(
    place: int, workers: int, gpus_per_trial: int, environment: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Gives the environment of the trials on one of several places.

    What the user set stays: OMP_NUM_THREADS, and of CUDA_VISIBLE_DEVICES each place has its part.

    Args:
        place: Which, from 0.
        workers: How many there are.
        gpus_per_trial: GPUs of each; 0 lets all trials see all.
        environment: What it starts from; None is this process's.

    Raises:
        ConfigError: There are not that many GPUs.
    """
    result = dict(os.environ if environment is None else environment)
    if gpus_per_trial:
        gpus = visible_gpus(result)
        if workers * gpus_per_trial > len(gpus):
            raise ConfigError(
                f"--workers {workers} with --gpus-per-trial {gpus_per_trial} need"
                f" {workers * gpus_per_trial} GPUs, and {len(gpus)} are visible here. Set fewer."
            )
        mine = gpus[place * gpus_per_trial : (place + 1) * gpus_per_trial]
        result["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
    result.setdefault("OMP_NUM_THREADS", str(max(1, n_cores() // workers)))
    return result


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """Lists the GPUs that CUDA_VISIBLE_DEVICES names, or all that there are."""
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def n_cores() -> int:
    """Counts the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
