"""Log-probabilities of labels from hidden states, so that no (N, V) tensor ever exists.

How much a label counts may depend on all the others of its row, and of another row: the gradients
cannot be made in the forward pass, as `projected.py` makes those of a plain sum. So the logits of a
few rows at a time are made there, and made again in the backward pass.

Shape letters: N labelled or unlabelled positions, n of them in a chunk, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from roots.batch import IGNORE
from roots.objectives.chunk_rows import rows_of
from roots.objectives.projected import Gradients


def label_log_probs(
    logits: Float[Tensor, "*rows V"], labels: Int[Tensor, " *rows"]
) -> Float[Tensor, " *rows"]:
    """Gives the log-probability of each label, 0 where there is none.

    Args:
        logits: Unnormalised log-probabilities of any float type.
        labels: The target of each position, or `IGNORE`.

    Returns:
        In nats, at least float32.
    """
    exact = logits if logits.dtype.itemsize >= 4 else logits.float()
    nats = F.cross_entropy(
        exact.flatten(0, -2), labels.flatten(), ignore_index=IGNORE, reduction="none"
    )
    return -nats.view(labels.shape)


def projected_log_probs(
    hidden: Float[Tensor, "*rows D"],
    weight: Float[Tensor, "V D"],
    bias: Float[Tensor, " V"] | None,
    labels: Int[Tensor, " *rows"],
    *,
    rows: int = 0,
) -> Float[Tensor, " *rows"]:
    """Gives what `label_log_probs` gives of the projected states, and keeps no logits.

    Under autocast the products are made in its format; the softmax and the gradient of the
    projection are kept in float32.

    Args:
        hidden: The states that the projection reads.
        weight: The projection.
        bias: Added to the logits.
        labels: The target of each position, or `IGNORE`.
        rows: Rows of a chunk; 0 takes what suits the device.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    how = (dtype, rows or rows_of(hidden.device))
    with torch.autocast(device, enabled=False):
        flat = _LogProbs.apply(hidden.flatten(0, -2), weight, bias, labels.flatten(), how)
    found: Float[Tensor, " *rows"] = flat.view(labels.shape)
    return found


class _LogProbs(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 - torch hands them by position
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        how: tuple[torch.dtype, int],
    ) -> Tensor:
        ctx.save_for_backward(hidden, weight, bias, labels)
        ctx.how = how
        chunks = _chunks(hidden, *_cast(weight, bias, how), how)
        return torch.cat([label_log_probs(logits, labels[part]) for part, _, logits in chunks])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *by_outputs: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, labels = ctx.saved_tensors
        gradients = Gradients(hidden, weight, bias, ctx.needs_input_grad, compiled=False)
        matrix, offset = _cast(weight, bias, ctx.how)
        for part, states, logits in _chunks(hidden, matrix, offset, ctx.how):
            by_logits = _by_logits(logits, labels[part], by_outputs[0][part])
            gradients.add(part, by_logits, states, matrix)
        dtypes = (hidden.dtype, weight.dtype, weight.dtype if bias is None else bias.dtype)
        return (*gradients.given(*dtypes), None, None)


def _cast(
    weight: Tensor, bias: Tensor | None, how: tuple[torch.dtype, int]
) -> tuple[Tensor, Tensor | None]:
    return weight.to(how[0]), None if bias is None else bias.to(how[0])


def _chunks(
    hidden: Tensor, matrix: Tensor, offset: Tensor | None, how: tuple[torch.dtype, int]
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Gives, of some rows at a time, which they are, their states (n D) and their logits (n V)."""
    dtype, rows = how
    for start in range(0, len(hidden), rows):
        part = slice(start, start + rows)
        states = hidden[part].to(dtype)
        yield part, states, F.linear(states, matrix, offset)


def _by_logits(logits: Tensor, labels: Tensor, by_log_probs: Tensor) -> Tensor:
    """Makes of logits (n V) the gradient by them; they are used up.

    A label's own entry is made apart in float32, since 1 - p would lose all its digits in bfloat16
    where p is nearly 1.
    """
    exact = logits if logits.dtype.itemsize >= 4 else logits.float()
    there = labels != IGNORE  # n
    target = labels.where(there, 0)[:, None]  # n 1
    counts = (by_log_probs * there)[:, None]  # n 1
    log_z = exact.logsumexp(-1, keepdim=True)  # n 1
    own = counts * (1 - (exact.gather(1, target) - log_z).exp())
    gradient = exact.sub_(log_z).exp_().mul_(-counts).to(logits.dtype)
    return gradient.scatter_(1, target, own.to(logits.dtype))
