"""AdamW with state of one byte, by bitsandbytes."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Optimizer

from roots.errors import ConfigError, MissingExtra
from roots.optim.adamw import AdamW, adamw_bytes, fastest_adamw
from roots.optim.combined import Combined
from roots.optim.groups import decays, owned, parameter_groups

SMALLEST = 4096
"""Values of the smallest matrix with 8-bit state; bitsandbytes' own bound."""
BLOCK = 256
"""Values that share a scale."""


class AdamW8bit(AdamW):
    """AdamW whose two running means take one byte per value, in blocks with a scale of their own.

    The layers' matrices of at least 4,096 values are stepped by bitsandbytes. Embeddings (tied
    heads too), whose rarely touched rows 8 bits serve badly, small matrices, norms and biases keep
    32-bit state and torch's AdamW. Needs the extra `bitsandbytes`.

    Args:
        learning_rate: Peak rate; the schedule scales it.
        weight_decay: Decay of the layers' matrices; norms, biases and embeddings have none.
        beta1: Decay rate of the mean of the gradients, 0 to 1.
        beta2: Decay rate of the mean of their squares, 0 to 1; 0.95 is usual for language models.
        eps: Added to the root of the second mean.

    Raises:
        ConfigError: A rate, a decay or an epsilon below zero, or a beta outside 0 to 1.

    Source:
        Dettmers et al., arXiv:2110.02861, section 2; embeddings in 32 bits: section 2.3.
    """

    works_sharded = False  # bitsandbytes reads memory, and knows no tensor that is cut

    def __init__(
        self,
        *,
        learning_rate: float = 3e-4,
        weight_decay: float = 0.1,
        beta1: float = 0.9,
        beta2: float = 0.95,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
        )

    def build(self, network: nn.Module) -> Optimizer:
        """Builds both optimizers as one.

        Raises:
            ConfigError: The network has no matrix that is large enough.
            MissingExtra: bitsandbytes is not installed.
        """
        large = _large_matrices(network)
        means = {"betas": (self.beta1, self.beta2), "eps": self.eps}
        group = {"params": large, "weight_decay": self.weight_decay, "name": "decayed_8bit"}
        parts: list[Optimizer] = [_bitsandbytes()([group], lr=self.learning_rate, **means)]
        rest = parameter_groups(network, weight_decay=self.weight_decay, without=large)
        if rest:
            parts.append(fastest_adamw(rest, lr=self.learning_rate, **means))
        return Combined(parts)

    def settings(self, group: dict[str, Any]) -> dict[str, Any]:
        """Gives a group's settings, the rate aside."""
        name = str(group["name"]).removesuffix("_8bit")
        return super().settings({**group, "name": name})

    def state_format(self, optimizer: Optimizer) -> str:
        """Names both kinds of state."""
        kinds = ["uint8 in blocks with float32 scales"]
        if len(optimizer.param_groups) > 1:
            kinds.append(f"{super().state_format(optimizer)} for the rest")
        return ", ".join(kinds)

    def state_bytes(self, network: nn.Module) -> int:
        """Two bytes per value and eight per block of 256 in 8 bits, else eight bytes per value."""
        small = {id(matrix) for matrix in _large_matrices(network)}
        return sum(
            2 * p.numel() + 8 * -(-p.numel() // BLOCK) if id(p) in small else adamw_bytes(p)
            for _, p in owned(network)
        )


def _large_matrices(network: nn.Module) -> list[nn.Parameter]:
    matrices = [parameter for owner, parameter in owned(network) if decays(owner, parameter)]
    large = [matrix for matrix in matrices if matrix.numel() >= SMALLEST]
    if not large:
        largest = max((matrix.numel() for matrix in matrices), default=0)
        raise ConfigError(
            f"AdamW8bit keeps 8-bit state for the layers' matrices of {SMALLEST:,} values or more,"
            f" and the largest of this network has {largest:,}. Set model.optimizer to"
            " roots.optim.AdamW."
        )
    return large


def _bitsandbytes() -> Any:
    try:
        from bitsandbytes.optim import AdamW8bit as Theirs
    except ImportError as error:
        raise MissingExtra(
            "roots.optim.AdamW8bit needs the package bitsandbytes, which is not installed. Install"
            " it (pip install 'roots-lm[bitsandbytes]', or pip install -e '.[bitsandbytes]' in a"
            " clone), or set model.optimizer to roots.optim.AdamW."
        ) from error
    return Theirs
