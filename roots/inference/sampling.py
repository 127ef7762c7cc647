"""Choosing the next token from its logits.

Shape letters: B sequences, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from roots.errors import ConfigError, TrainingError

SMALLEST_SEED, LARGEST_SEED = -(2**63), 2**64 - 1
"""What torch's generators take."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen.

    Args:
        temperature: Divides the logits: below 1 the likely becomes likelier; 0 always takes the
            likeliest token (greedy), and nothing is random.
        top_k: Only the `top_k` likeliest tokens are drawn from; 0 means all of them.
        top_p: Only the likeliest tokens that together hold this probability are drawn from, more
            than 0 and at most 1; 1 means all of them.

    Raises:
        ConfigError: A value is out of its range.
    """

    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 0.95

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ConfigError(
                f"temperature={self.temperature:g} is no temperature."
                " Set it to 0 (always the likeliest token) or above; 0.8 is usual."
            )
        if 0 < self.temperature < torch.finfo(torch.float32).tiny:
            raise ConfigError(
                f"temperature={self.temperature:g} is 0 to float32, and nothing can be divided by"
                " that. Set it to 0 (always the likeliest token), or to 0.01 or above."
            )
        if self.top_k < 0:
            raise ConfigError(
                f"top_k={self.top_k} is no number of tokens. Set it to 1 or more, or to 0 for all."
            )
        if not 0 < self.top_p <= 1:
            raise ConfigError(
                f"top_p={self.top_p:g} is no share of the probability."
                " Set it above 0 and at most to 1; 1 draws from all tokens."
            )


def check_amount(max_tokens: int) -> None:
    """Raises ConfigError when no token is asked for."""
    if max_tokens < 1:
        raise ConfigError(f"max_tokens={max_tokens} adds nothing. Set it to 1 or more.")


def check_seed(seed: int, n: int = 1) -> None:
    """Raises ConfigError when a generator takes no such seed.

    Args:
        seed: The first.
        n: How many follow each other from there.
    """
    if not SMALLEST_SEED <= seed <= LARGEST_SEED + 1 - n:
        raise ConfigError(
            f"seed={seed} is no seed for {n:,} text{'s' * (n != 1)}. Set it to a number from"
            f" {SMALLEST_SEED} to {LARGEST_SEED + 1 - n}."
        )


def next_token(
    logits: Float[Tensor, "*B V"],
    *,
    temperature: float,
    top_k: int,
    top_p: float,
    generator: torch.Generator,
) -> Int[Tensor, "*B"]:
    """Chooses one token per row.

    Args:
        logits: Of any floating dtype; the work is done in float32.
        temperature: See `Sampling`.
        top_k: See `Sampling`.
        top_p: See `Sampling`.
        generator: Where the randomness comes from; one on the host gives the same tokens for the
            same logits on every device.

    Returns:
        The chosen ids, on the device of `logits`.

    Raises:
        ConfigError: A value is out of its range.
        TrainingError: A row has no likeliest token, since it holds nan or +inf.
    """
    Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    logits = logits.float()
    check_finite(logits)
    if temperature == 0:
        return logits.argmax(-1)
    probabilities = distribution(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    rows = probabilities.reshape(-1, logits.shape[-1]).to(generator.device)  # N V
    drawn = torch.multinomial(rows, 1, generator=generator)  # N 1
    return drawn.reshape(logits.shape[:-1]).to(logits.device)


def distribution(
    logits: Float[Tensor, "*B V"], *, temperature: float, top_k: int, top_p: float
) -> Float[Tensor, "*B V"]:
    """Gives the probabilities that are drawn from: temperature first, then top-k, then top-p.

    Args:
        logits: In float32.
        temperature: Above 0.
        top_k: See `Sampling`; tokens as likely as the last one of them stay too.
        top_p: See `Sampling`.

    Source:
        Holtzman et al., arXiv:1904.09751, section 3.1 (top-p).
    """
    # the largest becomes 0, so that no temperature overflows
    scaled = (logits - logits.amax(-1, keepdim=True)) / temperature
    if 0 < top_k < scaled.shape[-1]:
        least = scaled.topk(top_k).values[..., -1:]
        scaled = scaled.masked_fill(scaled < least, -math.inf)
    if top_p < 1:
        scaled = scaled.masked_fill(_beyond(scaled, top_p), -math.inf)
    return scaled.softmax(-1)


def _beyond(logits: Float[Tensor, "*B V"], top_p: float) -> Tensor:
    """Marks the tokens that are not needed to reach `top_p`, the likeliest being taken first."""
    ordered, indices = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = ordered.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    beyond = before >= top_p
    beyond[..., 0] = False
    return torch.zeros_like(beyond).scatter(-1, indices, beyond)


def check_finite(logits: Float[Tensor, "*B V"]) -> None:
    """Raises TrainingError for logits of a training that diverged: no token is the likeliest."""
    largest = logits.amax(-1)
    if not bool(largest.isfinite().all()):
        value = largest[~largest.isfinite()].flatten()[0].item()
        raise TrainingError(
            f"The network's largest logit is {value}, so no token can be chosen. The training that"
            " made its weights diverged: use an earlier checkpoint (--checkpoint STEP), or train"
            " again with a lower learning rate."
        )
