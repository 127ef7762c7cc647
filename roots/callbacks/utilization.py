"""Which share of a device's matrix products a run makes use of.

Model FLOPs utilization (Chowdhery et al., arXiv:2204.02311, appendix B): tokens per second times
the network's operations per token, over the peak of all devices. What is computed again does not
count, so a faster run is always the higher figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch

from roots.networks import flops_by_length
from roots.precision import device_peak, measured_peak
from roots.strategies import StepStrategy

MFU = "train/mfu"
OF_MATMUL_PEAK = "train/fraction_of_matmul_peak"


class Utilization:
    """Turns tokens per second into the share of the peak; into nothing where that is not known.

    On GPUs the peak is the vendor's, times the ranks, which are alike. On CPUs it is measured:
    every rank multiplies matrices on its own threads, all at the same time, and their rates are
    added up, since ranks on one machine share its cores. The two have different names.

    Args:
        name: What the share is called among the metrics; empty where it is not known.
        flops_per_token: Operations of a training step per token, by the length of rows.
        peak: Operations per second of all ranks together.
    """

    def __init__(
        self,
        name: str = "",
        flops_per_token: Mapping[int, float] = MappingProxyType({}),
        peak: float = 1.0,
    ) -> None:
        self.name = name
        self.flops_per_token = flops_per_token
        self.peak = peak

    def metrics(
        self, tokens_per_second: float, tokens_by_length: Mapping[int, int]
    ) -> dict[str, float]:
        """Gives the share at a rate, by its name; nothing where it is not known.

        Args:
            tokens_per_second: The rate.
            tokens_by_length: The tokens that it was measured on, by the length of their rows.
        """
        if not self.name or not any(tokens_by_length.values()):
            return {}
        flops = sum(self.flops_per_token[each] * n for each, n in tokens_by_length.items())
        per_token = flops / sum(tokens_by_length.values())
        return {self.name: tokens_per_second * per_token / self.peak}


def utilization_of(trainer: Any, module: Any) -> Utilization:
    """Counts the network's operations and finds or measures the peak; all ranks come here at once.

    Args:
        trainer: At the start of training.
        module: With its network built.
    """
    data = trainer.datamodule
    if not data.same_lengths:
        return Utilization()
    network = network_with_shapes(module, trainer.strategy)
    counted = flops_by_length(network, data, causal=module.causal)
    strategy, dtype = trainer.strategy, trainer.precision_plugin.products
    device = strategy.root_device
    if counted[data.seq_len].not_understood:
        return Utilization()
    flops = {length: each.per_trained_token for length, each in counted.items()}
    if device.type == "cpu":
        strategy.barrier()
        mine = torch.tensor(measured_peak(dtype), dtype=torch.float64)
        peak = float(strategy.reduce(mine, reduce_op="sum"))
        return Utilization(OF_MATMUL_PEAK, flops, peak)
    known = device_peak(device, dtype)
    if known is None:
        return Utilization()
    return Utilization(MFU, flops, known * trainer.world_size)


def network_with_shapes(module: Any, strategy: StepStrategy) -> Any:
    """Gives a module's network, or an empty one like it where the own one's weights are away."""
    network = module.trainable.network
    if not strategy.hides_weights:
        return network
    empty = module.builder.empty(network.config, module.head)
    trained = {name: p.requires_grad for name, p in network.named_parameters()}
    for name, parameter in empty.named_parameters():
        parameter.requires_grad_(trained[name])
    return empty


def share_in_words(measured: dict[str, float]) -> str:
    """Words the share at the run's median rate, for a person; empty where it is not known."""
    rate, median = (measured.get(f"train/tokens_per_second{end}", 0.0) for end in ("", "_median"))
    for name, words in ((MFU, "MFU"), (OF_MATMUL_PEAK, "of the matmul peak")):
        if name in measured and rate:
            return f"{measured[name] * median / rate:.1%} {words}"
    return ""
