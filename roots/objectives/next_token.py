"""The next-token loss."""

from __future__ import annotations

import copy
import math

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from roots.batch import IGNORE, Score
from roots.errors import ConfigError, nearest
from roots.objectives.chunk_rows import rows_of
from roots.objectives.kernels import KERNELS, check_kernel, kernel_loss
from roots.objectives.projected import Weights, projected_loss
from roots.objectives.teaching import PARTS, Teaching, soft_sums


def next_token_nats(
    logits: Float[Tensor, "*rows V"], labels: Int[Tensor, " *rows"]
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Summed cross-entropy of the labelled positions, in nats, and how many there are.

    The two come apart because a mean of means is wrong as soon as two
    micro-batches, or two ranks, hold different numbers of labelled positions.

    Args:
        logits: Unnormalised log-probabilities of any float type; the sum is made in float32.
        labels: The target of each position; `IGNORE` (-100) counts for nothing.

    Returns:
        The sum, 0-d float32 (float64 for float64 logits); the count, 0-d int64.
    """
    flat = _at_least_float32(logits).flatten(0, -2)  # N V
    nats = F.cross_entropy(flat, labels.flatten(), ignore_index=IGNORE, reduction="sum")
    return nats, (labels != IGNORE).sum()


class NextToken:
    """Predicts the next token: cross-entropy, with two regularisers that are off by default.

    Args:
        label_smoothing: Share of the target's probability that is spread evenly over the
            vocabulary, 0 to 1.
        z_loss: Weight of the squared log of the softmax's denominator, which keeps logits from
            drifting; 1e-4 in PaLM.
        kernel: How the projection and the loss are made from hidden states: `fused` (roots' own,
            no logits are kept), `plain` (the head, then the loss), `torch`
            (`linear_cross_entropy`, torch 2.13; imprecise for bfloat16), `liger` (Liger's Triton
            kernel, on CUDA).
        compiled: Compile the fused kernel's work on the logits.

    Raises:
        ConfigError: `label_smoothing` outside 0 to 1, a `z_loss` below 0 or infinite, or a kernel
            that there is not, is not installed, or lacks one of the two.

    Source:
        Label smoothing: Szegedy et al., arXiv:1512.00567, section 7 (uniform prior).
        z-loss: Chowdhery et al., arXiv:2204.02311, section 5.
    """

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        z_loss: float = 0.0,
        kernel: str = "fused",
        compiled: bool = False,
    ) -> None:
        check_label_smoothing(label_smoothing)
        if not 0 <= z_loss < math.inf:
            raise ConfigError(
                f"z_loss={z_loss:g} would reward drifting logits, or leave nothing else to learn."
                " Set it to 0 (off) or 1e-4."
            )
        if kernel not in KERNELS:
            raise ConfigError(
                f"There is no loss {kernel!r}{nearest(kernel, KERNELS)}."
                f" Set model.loss to one of {', '.join(KERNELS)}."
            )
        self.label_smoothing = label_smoothing
        self.z_loss = z_loss
        self.kernel = kernel
        self.compiled = compiled
        self.teaching: Teaching | None = None
        check_kernel(kernel, self._weights)

    def beside(self, teaching: Teaching) -> NextToken:
        """Makes the same loss of a batch for which a teacher says something too.

        The kernels of other people know no teacher.
        """
        advised = copy.copy(self)
        advised.teaching = teaching
        return advised

    def from_hidden(
        self, hidden: Float[Tensor, "B T D"], head: nn.Module, labels: Int[Tensor, "B T"]
    ) -> Score:
        """Scores the positions from the hidden states and the vocabulary projection.

        A head that is more than a matrix and a bias (quantised, with adapters) is run as it is.
        """
        if self.kernel == "plain" or type(head) is not nn.Linear:
            return self.from_logits(head(hidden), labels)
        if self.kernel != "fused":
            sums = kernel_loss(self.kernel, hidden, head, labels, self._weights)
            return Score(*sums, (labels != IGNORE).sum())
        loss, nats, *parts = projected_loss(
            hidden,
            head.weight,
            head.bias,
            labels,
            weights=self._weights,
            teaching=self.teaching,
            compiled=self.compiled,
        )
        named = dict(zip(PARTS, parts, strict=bool(parts)))
        return Score(loss, nats, (labels != IGNORE).sum(), parts=named)

    def from_logits(self, logits: Float[Tensor, "B T V"], labels: Int[Tensor, "B T"]) -> Score:
        """Scores the positions from the logits."""
        nats, count = next_token_nats(logits, labels)
        loss = nats
        if self.label_smoothing or self.z_loss:
            loss = self._regularised(_at_least_float32(logits), labels, nats)
        score = Score(loss, nats.detach(), count)
        if self.teaching is None:
            return score
        there = (labels != IGNORE).flatten()
        flat = logits.flatten(0, -2)  # N V
        return self.teaching.mixed(
            score, soft_sums(flat, there, self.teaching, rows=rows_of(flat.device))
        )

    @property
    def _weights(self) -> Weights:
        return Weights(self.label_smoothing, self.z_loss)

    def _regularised(
        self, logits: Float[Tensor, "B T V"], labels: Int[Tensor, "B T"], nats: Float[Tensor, ""]
    ) -> Float[Tensor, ""]:
        log_z = logits.logsumexp(-1)  # B T
        ignored = labels == IGNORE  # filled, not indexed: to count them, the host would wait
        uniform = (log_z - logits.mean(-1)).masked_fill(ignored, 0).sum()  # cross-entropy with 1/V
        mixed = (1 - self.label_smoothing) * nats + self.label_smoothing * uniform
        return mixed + self.z_loss * log_z.masked_fill(ignored, 0).square().sum()


def check_label_smoothing(share: float) -> None:
    """Raises ConfigError when a share of a target's probability is none."""
    if not 0 <= share < 1:
        raise ConfigError(
            f"label_smoothing={share:g} is not a share of a probability."
            " Set it to at least 0 and less than 1; 0.1 is common, 0 turns it off."
        )


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits if logits.dtype.itemsize >= 4 else logits.float()
