"""What can be sharded, and what a user can set in place of what cannot."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar

import torch
from lightning.pytorch.plugins.precision import Precision
from torch.distributed.fsdp import MixedPrecisionPolicy

from roots.errors import ConfigError
from roots.optim import OptimizerBuilder
from roots.precision import BF16Mixed, BF16True, Float32, FP8Mixed, FP16Mixed

POLICIES: dict[type[Precision], MixedPrecisionPolicy] = {
    Float32: MixedPrecisionPolicy(),
    FP16Mixed: MixedPrecisionPolicy(param_dtype=torch.float16, reduce_dtype=torch.float32),
    BF16Mixed: MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32),
    FP8Mixed: MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32),
    BF16True: MixedPrecisionPolicy(reduce_dtype=torch.float32),
}
"""What is gathered and what is summed, by precision: weights travel in 16 bits where products are
made in them, gradients are summed over micro-batches and ranks in float32."""


RANKS_OF_PLAN: ContextVar[tuple[int, int] | None] = ContextVar("ranks_of_plan", default=None)
"""The ranks and machines that a run is put together for, where they are not those of its trainer:
`roots plan` asks of devices that are not here."""


def check_run(optimizer: OptimizerBuilder, precision: Precision, compiled: str) -> None:
    """Raises ConfigError for a run that cannot be sharded."""
    if type(precision) not in POLICIES:
        raise ConfigError(
            f"precision={precision.precision} is not tested with sharded weights. Set"
            " trainer.precision to bf16-mixed, bf16-true, 16-mixed, fp8-mixed or 32, or"
            " trainer.strategy to ddp."
        )
    if compiled == "network":
        raise ConfigError(
            "compile=network makes one graph of all blocks, and sharded weights are gathered"
            " block by block. Set model.compile to blocks, or trainer.strategy to ddp."
        )
    if not optimizer.works_sharded:
        raise ConfigError(
            f"{optimizer.label} does not work on sharded weights. Set model.optimizer"
            " to roots.optim.AdamW (its state is sharded too), or trainer.strategy to ddp."
        )


def check_shared_layers(precision: Precision, compiled: str, recomputed: str) -> None:
    """Raises ConfigError for what does not work where ranks share layers.

    Torch cannot compile blocks that are cut and computed again, and 8-bit products take a scale
    from what each rank has.
    """
    if type(precision) is FP8Mixed:
        raise ConfigError(
            "precision=fp8-mixed is not tested with layers that ranks share. Set trainer.precision"
            " to bf16-mixed, or trainer.strategy to fsdp or ddp."
        )
    if compiled != "none" and recomputed != "none":
        raise ConfigError(
            f"compile={compiled} fails in torch on layers that ranks share and that are computed"
            f" again (activation_checkpointing={recomputed}). Set model.compile to none, or leave"
            " out activation_checkpointing or tensor_parallel."
        )


def check_axes(n_ranks: int, replicas: int, copies: int, tensor_parallel: int) -> None:
    """Raises ConfigError when copies of a network, and ranks that share layers, do not fit.

    Args:
        n_ranks: Of the run.
        replicas: Copies of the network, as they were set.
        copies: As many as that means.
        tensor_parallel: Ranks that share layers.
    """
    if tensor_parallel < 1 or n_ranks % tensor_parallel:
        raise ConfigError(
            f"tensor_parallel={tensor_parallel}: so many ranks cannot share the layers of a network"
            f" where there are {n_ranks}. Set it to one of {_divisors(n_ranks)}, or change"
            f" {'--gpus' if RANKS_OF_PLAN.get() else 'trainer.devices'}."
        )
    groups = n_ranks // tensor_parallel
    if replicas < 0 or groups % copies:
        each = f" of {tensor_parallel} that share layers" if tensor_parallel > 1 else ""
        what = f"{groups} groups{each}" if each else f"{n_ranks} ranks"
        raise ConfigError(
            f"replicas={replicas} copies of the network cannot share {what} evenly. Set it to one"
            f" of {_divisors(groups)}; or to 0, one for each machine."
        )


def check_offload(devices: Sequence[torch.device] | None) -> None:
    """Raises ConfigError where there is no device to take weights from."""
    kinds = {device.type for device in devices or ()}
    if kinds != {"cuda"}:
        raise ConfigError(
            "cpu_offload=true keeps weights in the host's memory beside GPUs, and this run computes"
            f" on {' and '.join(sorted(kinds)) or 'nothing'}, where they lie there anyway. Leave"
            " cpu_offload out, or set trainer.accelerator to gpu."
        )


def _divisors(n: int) -> str:
    return ", ".join(str(size) for size in range(1, n + 1) if n % size == 0)
