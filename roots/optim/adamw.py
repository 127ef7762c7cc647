"""AdamW."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from roots.optim.builder import (
    OptimizerBuilder,
    check_decay_rates,
    check_layer_decay,
    check_not_negative,
)
from roots.optim.clipping import local
from roots.optim.groups import check_groups, kind_of, owned, parameter_groups
from roots.optim.layers import by_layer, distances_from_the_top, layers_below
from roots.optim.master import without_masters


class AdamW(OptimizerBuilder):
    """Adam with decoupled weight decay: torch's, fused into one kernel where the device has it.

    Args:
        learning_rate: Peak rate; the schedule scales it.
        weight_decay: Decay of the layers' matrices; norms, biases and embeddings have none.
        beta1: Decay rate of the mean of the gradients, 0 to 1.
        beta2: Decay rate of the mean of their squares, 0 to 1; 0.95 is usual for language models.
        eps: Added to the root of the second mean.
        layer_decay: The rate of a layer as a fraction of that of the layer above it, over 0 to 1:
            low layers, which know the language, are changed least. 1 trains all alike; 0.8 to 0.95
            are usual in fine-tuning. Encoder and decoder count from their own highest layer down,
            embeddings that both share from the deeper.

    Raises:
        ConfigError: A rate, a decay or an epsilon below zero, a beta outside 0 to 1, or a
            `layer_decay` that is no such fraction.

    Source:
        Loshchilov & Hutter, arXiv:1711.05101, algorithm 2; layer-wise rates: Howard & Ruder,
        arXiv:1801.06146, section 3.2, with the exponent of Clark et al., arXiv:2003.10555.
    """

    def __init__(
        self,
        *,
        learning_rate: float = 3e-4,
        weight_decay: float = 0.1,
        beta1: float = 0.9,
        beta2: float = 0.95,
        eps: float = 1e-8,
        layer_decay: float = 1.0,
    ) -> None:
        check_not_negative(learning_rate=learning_rate, weight_decay=weight_decay, eps=eps)
        check_layer_decay(layer_decay)
        check_decay_rates(beta1=beta1, beta2=beta2)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.beta1 = beta1
        self.beta2 = beta2
        self.eps = eps
        self.layer_decay = layer_decay

    def build(self, network: nn.Module) -> Optimizer:
        """Builds torch's AdamW over the two parameter groups, or over two for each layer."""
        groups = parameter_groups(network, weight_decay=self.weight_decay)
        if self.layer_decay < 1:
            groups = by_layer(groups, distances_from_the_top(network))
        return fastest_adamw(
            groups,
            lr=self.learning_rate,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
        )

    def settings(self, group: dict[str, Any]) -> dict[str, Any]:
        """Gives a group's settings, the rate aside."""
        decay = self.weight_decay if kind_of(group) == "decayed" else 0.0
        return {"weight_decay": decay, "betas": (self.beta1, self.beta2), "eps": self.eps}

    def peak_rate(self, group: dict[str, Any]) -> float:
        """Gives the peak rate of a layer, by how far it is below the head."""
        return self.learning_rate * self.layer_decay ** layers_below(group)

    def state_bytes(self, network: nn.Module) -> int:
        """Two float32 values per parameter: the running means of the gradient and its square."""
        return sum(adamw_bytes(parameter) for _, parameter in owned(network))


def fastest_adamw(groups: list[dict[str, Any]], **settings: Any) -> Optimizer:
    """Makes torch's AdamW: fused where device and number format have that kernel.

    Elsewhere torch takes one call per operation for all parameters (foreach) where the device has
    those, and one call per parameter and operation where it has not.

    Args:
        groups: Parameter groups, each with its `name`.
        settings: Torch's, the implementation aside.
    """
    kinds = {(p.device, p.dtype) for group in groups for p in group["params"]}
    fused = all(has_fused_adamw(device, dtype) for device, dtype in kinds)
    adamw = _PartsAdamW(groups, fused=fused or None, **settings)
    adamw.register_load_state_dict_pre_hook(_adapted)
    return adamw


class _PartsAdamW(torch.optim.AdamW):
    """Steps the parts that this rank holds: each value by itself, whatever mesh it is cut over."""

    def _init_group(self, group: dict[str, Any], *lists: list[Any]) -> bool:
        has_complex: bool = super()._init_group(group, *lists)
        for tensors in lists:  # parameters, gradients, means, counters
            tensors[:] = map(local, tensors)
        return has_complex


@functools.cache
def has_fused_adamw(device: torch.device, dtype: torch.dtype) -> bool:
    """Tells whether torch's fused AdamW runs on a device with such numbers, by running it once."""
    probe = nn.Parameter(torch.zeros(1, device=device, dtype=dtype))
    probe.grad = torch.zeros_like(probe)
    try:
        torch.optim.AdamW([probe], fused=True).step()
    except (RuntimeError, NotImplementedError):
        return False
    return True


def adamw_bytes(parameter: nn.Parameter) -> int:
    """Tells how many bytes AdamW keeps for a parameter: two values of at least float32."""
    return 2 * parameter.numel() * max(parameter.dtype.itemsize, 4)


def _adapted(optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    """Refuses another optimizer's state, and keeps this device's implementation for its own."""
    check_groups(optimizer, state_dict)
    state_dict = without_masters(optimizer, state_dict)
    ways = {name: optimizer.defaults[name] for name in ("fused", "foreach")}
    return {**state_dict, "param_groups": [{**g, **ways} for g in state_dict["param_groups"]]}
