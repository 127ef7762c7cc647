"""Muon for the hidden matrices, AdamW for the rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from roots.errors import ConfigError, nearest
from roots.optim.adamw import adamw_bytes, fastest_adamw
from roots.optim.builder import (
    OptimizerBuilder,
    check_decay_rates,
    check_layer_decay,
    check_not_negative,
)
from roots.optim.combined import Combined
from roots.optim.groups import hidden_matrices, kind_of, owned, parameter_groups
from roots.optim.layers import by_layer, distances_from_the_top, layers_below

ADJUSTMENTS = ("match_rms_adamw", "original")


class Muon(OptimizerBuilder):
    """Steps hidden matrices along their orthogonalised momentum, and the rest by AdamW.

    Hidden matrices are those inside the network's body: not embeddings, heads, norms or biases,
    nor experts that are stacked into one tensor. A fused projection (GPT-2's queries, keys and
    values) is orthogonalised as the one matrix that it is. Five products per matrix and iteration
    are made in bfloat16, once per optimizer step, so a processor without units for that is slow.

    Args:
        learning_rate: Peak rate of the matrices, and the one that is logged; the schedule scales
            it. With `match_rms_adamw` a rate that is good for AdamW is good here; with `original`
            about 0.02 is usual.
        adamw_learning_rate: Peak rate of the rest; 0 means `learning_rate`.
        weight_decay: Decay of the hidden matrices, and of the head where it is not tied; norms,
            biases and embeddings have none.
        momentum: Decay rate of the mean of the matrices' gradients, 0 to 1.
        nesterov: Look ahead by one more step of that mean.
        ns_steps: Newton-Schulz iterations, 1 to 99.
        adjust_lr_fn: How a matrix's shape enters its rate. `match_rms_adamw`: 0.2 sqrt(max(rows,
            columns)), so that a step is as large as AdamW's and one rate serves both; the same for
            a matrix and its transpose. `original`: sqrt(max(1, rows / columns)), meant for rows
            that are outputs; in GPT-2, whose matrices are transposed, they are inputs.
        beta1: AdamW's decay rate of the mean of the gradients, 0 to 1.
        beta2: AdamW's decay rate of the mean of their squares, 0 to 1.
        eps: Added to the root of AdamW's second mean.
        layer_decay: The rate of a layer, in either part, as a fraction of that of the layer above
            it, over 0 to 1. 1 trains all alike; 0.8 to 0.95 are usual in fine-tuning. Encoder and
            decoder count from their own highest layer down, embeddings that both share from the
            deeper.

    Raises:
        ConfigError: A setting is outside its range or names nothing.

    Source:
        Jordan et al., kellerjordan.github.io/posts/muon; `match_rms_adamw`: Liu et al.,
        arXiv:2502.16982, section 2.2. The iteration is `torch.optim.Muon`'s.
    """

    def __init__(
        self,
        *,
        learning_rate: float = 3e-4,
        adamw_learning_rate: float = 0.0,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
        adjust_lr_fn: str = "match_rms_adamw",
        beta1: float = 0.9,
        beta2: float = 0.95,
        eps: float = 1e-8,
        layer_decay: float = 1.0,
    ) -> None:
        self.adamw_learning_rate = adamw_learning_rate
        self.learning_rate = learning_rate
        check_not_negative(
            learning_rate=learning_rate,
            adamw_learning_rate=adamw_learning_rate,
            weight_decay=weight_decay,
            eps=eps,
        )
        check_decay_rates(momentum=momentum, beta1=beta1, beta2=beta2)
        check_layer_decay(layer_decay)
        _check_iteration(ns_steps, adjust_lr_fn)
        self.weight_decay = weight_decay
        self.momentum = momentum
        self.nesterov = nesterov
        self.ns_steps = ns_steps
        self.adjust_lr_fn = adjust_lr_fn
        self.beta1 = beta1
        self.beta2 = beta2
        self.eps = eps
        self.layer_decay = layer_decay

    def build(self, network: nn.Module) -> Optimizer:
        """Builds both optimizers as one.

        Raises:
            ConfigError: The network has no hidden matrix to train.
        """
        matrices = _matrices(network)
        hidden: list[dict[str, Any]] = [{"params": matrices, "name": "matrices"}]
        settings = self.settings(hidden[0])
        rest = parameter_groups(network, weight_decay=self.weight_decay, without=matrices)
        if self.layer_decay < 1:
            distances = distances_from_the_top(network)
            hidden, rest = by_layer(hidden, distances), by_layer(rest, distances)
        parts: list[Optimizer] = [torch.optim.Muon(hidden, lr=self.learning_rate, **settings)]
        if rest:
            means = {"betas": (self.beta1, self.beta2), "eps": self.eps}
            parts.append(fastest_adamw(rest, lr=self._rest_rate, **means))
        return Combined(parts)

    def settings(self, group: dict[str, Any]) -> dict[str, Any]:
        """Gives a group's settings, the rate aside."""
        if kind_of(group) == "matrices":
            return {
                "weight_decay": self.weight_decay,
                "momentum": self.momentum,
                "nesterov": self.nesterov,
                "ns_steps": self.ns_steps,
                "adjust_lr_fn": self.adjust_lr_fn,
            }
        decay = self.weight_decay if kind_of(group) == "decayed" else 0.0
        return {"weight_decay": decay, "betas": (self.beta1, self.beta2), "eps": self.eps}

    def peak_rate(self, group: dict[str, Any]) -> float:
        """Gives the peak rate of the matrices, or of the rest, in a layer."""
        rate = self.learning_rate if kind_of(group) == "matrices" else self._rest_rate
        return rate * self.layer_decay ** layers_below(group)

    def state_bytes(self, network: nn.Module) -> int:
        """One float32 value per hidden matrix's entry, two for every other."""
        halved = {id(matrix) for matrix in _matrices(network)}
        everything = ((id(p) in halved, adamw_bytes(p)) for _, p in owned(network))
        return sum(size // 2 if is_matrix else size for is_matrix, size in everything)

    @property
    def _rest_rate(self) -> float:
        return self.adamw_learning_rate or self.learning_rate


def _matrices(network: nn.Module) -> list[nn.Parameter]:
    matrices = hidden_matrices(network)
    if not matrices:
        trainable = [tuple(parameter.shape) for _, parameter in owned(network)]
        raise ConfigError(
            f"Muon orthogonalises hidden matrices, and among the {len(trainable)} trainable"
            f" parameters of this network (shapes {_some(trainable)}) there is none."
            " Set model.optimizer to roots.optim.AdamW."
        )
    return matrices


def _some(shapes: list[tuple[int, ...]]) -> str:
    shown = ", ".join(str(shape) for shape in shapes[:4])
    return shown + (", …" if len(shapes) > 4 else "")


def _check_iteration(ns_steps: int, adjust_lr_fn: str) -> None:
    if not 1 <= ns_steps <= 99:
        raise ConfigError(
            f"ns_steps={ns_steps} is no number of Newton-Schulz iterations. Set it from 1 to 99;"
            " 5 is usual."
        )
    if adjust_lr_fn not in ADJUSTMENTS:
        raise ConfigError(
            f"There is no adjust_lr_fn {adjust_lr_fn!r}{nearest(adjust_lr_fn, ADJUSTMENTS)}."
            f" Set it to {' or '.join(ADJUSTMENTS)}."
        )
