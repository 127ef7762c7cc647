"""Vocabulary projection and cross-entropy in one, so that no (N, V) tensor ever exists.

The gradients of the hidden states and of the projection are made in the forward pass, a few rows
at a time: the logits of those rows become the gradient of the loss where they lie, and are
multiplied straight into the two results. So the projection is computed once, and backward only
scales what is there.

Shape letters: N labelled or unlabelled positions, n of them in a chunk, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from roots.batch import IGNORE
from roots.objectives.chunk_rows import rows_of
from roots.objectives.teaching import Teaching, softened


@dataclass(frozen=True)
class Weights:
    """How much of what is in the loss; the defaults are the plain cross-entropy.

    Args:
        label_smoothing: Share of the target's probability that is spread over the vocabulary.
        z_loss: Weight of the squared log of the softmax's denominator.
    """

    label_smoothing: float = 0.0
    z_loss: float = 0.0


class _Chunk(NamedTuple):
    """The summed loss and nats of some rows, and the gradient of the loss by their logits."""

    loss: Tensor
    nats: Tensor
    gradient: Tensor  # n V
    parts: tuple[Tensor, ...] = ()


def projected_loss(
    hidden: Float[Tensor, "*rows D"],
    weight: Float[Tensor, "V D"],
    bias: Float[Tensor, " V"] | None,
    labels: Int[Tensor, " *rows"],
    *,
    weights: Weights,
    teaching: Teaching | None = None,
    compiled: bool = False,
    rows: int = 0,
) -> tuple[Float[Tensor, ""], ...]:
    """Gives loss and nats of `labels`, summed, as if the logits had been made and scored.

    Under autocast the products are made in its format; sums, softmax and the gradient of the
    projection are kept in float32. It must not run inside activation checkpointing, where the
    forward pass, which does all the work here, is repeated.

    Args:
        hidden: The states that the projection reads.
        weight: The projection.
        bias: Added to the logits.
        labels: The target of each position; `IGNORE` counts for nothing.
        weights: The parts of the loss.
        teaching: What a teacher says of the positions, and how much it counts. Its logits are made
            chunk by chunk as well.
        compiled: Compile what happens to each chunk's logits into one kernel.
        rows: Rows of a chunk; 0 takes what suits the device.

    Returns:
        The loss, which carries the gradient, and the nats, which do not; 0-d, float32 (float64 for
        float64 states). With a teacher, behind them the loss by the labels alone, the soft loss,
        and of how many labelled positions both have the same best guess.

    Source:
        Wijmans et al., arXiv:2411.09009, and Hsu et al., arXiv:2410.10989, for the idea; gradients
        in the forward pass as in the latter.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    rows = rows or rows_of(hidden.device)
    wanted = torch.is_grad_enabled()
    settings = _Settings(weights, dtype, rows, compiled, with_gradient=wanted, teaching=teaching)
    with torch.autocast(device, enabled=False):
        loss, others = _Projected.apply(
            hidden.flatten(0, -2), weight, bias, labels.flatten(), settings
        )
    return (loss, *others.unbind())


class _Told(NamedTuple):
    """The logits of a teacher (n V), and how much they count."""

    logits: Tensor
    alpha: float
    temperature: float


@dataclass(frozen=True)
class _Settings:
    weights: Weights
    dtype: torch.dtype
    rows: int
    compiled: bool
    with_gradient: bool
    teaching: Teaching | None = None


class Gradients:
    """The gradients of a projection, added up chunk by chunk; None where not needed."""

    def __init__(
        self, hidden: Tensor, weight: Tensor, bias: Tensor | None, needs: Any, *, compiled: bool
    ) -> None:
        self.accumulate = _compiled_accumulate() if compiled else _accumulate
        exact = torch.promote_types(weight.dtype, torch.float32)
        self.hidden = torch.empty_like(hidden) if needs[0] else None  # N D
        self.weight = torch.zeros_like(weight, dtype=exact) if needs[1] else None  # V D
        self.bias = None  # V
        if bias is not None and needs[2]:
            self.bias = torch.zeros_like(bias, dtype=exact)

    def add(self, part: slice, gradient: Tensor, states: Tensor, matrix: Tensor) -> None:
        """Adds a chunk's: `gradient` n V by its logits, `states` n D, `matrix` V D."""
        if self.hidden is not None:
            self.hidden[part] = gradient @ matrix
        if self.weight is not None:
            self._add_product(self.weight, gradient.T, states)
        if self.bias is not None:
            self.bias += gradient.sum(0, dtype=self.bias.dtype)

    def _add_product(self, total: Tensor, left: Tensor, right: Tensor) -> None:
        """Adds a product to a sum of at least its precision."""
        if total.dtype == left.dtype:
            total.addmm_(left, right)
        else:
            self.accumulate(total, left @ right)

    def scaled(self, factor: Tensor, *dtypes: torch.dtype) -> tuple[Tensor | None, ...]:
        """Multiplies by the gradient of the loss, in place."""
        for gradient in (self.hidden, self.weight, self.bias):
            if gradient is not None:
                gradient.mul_(factor.to(gradient.dtype))
        return self.given(*dtypes)

    def given(self, *dtypes: torch.dtype) -> tuple[Tensor | None, ...]:
        """Gives them in the formats of what they belong to."""
        each = zip((self.hidden, self.weight, self.bias), dtypes, strict=True)
        return tuple(None if g is None else g.to(dtype) for g, dtype in each)


class _Projected(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 - torch hands them by position
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        settings: _Settings,
    ) -> tuple[Tensor, Tensor]:
        matrix = weight.to(settings.dtype)  # V D
        offset = None if bias is None else bias.to(settings.dtype)
        needs = [settings.with_gradient and needed for needed in ctx.needs_input_grad]
        gradients = Gradients(hidden, weight, bias, needs, compiled=settings.compiled)
        score, wanted = _scorer(settings), any(needs)
        sums = []
        for start in range(0, len(labels), settings.rows):
            part = slice(start, start + settings.rows)
            states = hidden[part].to(settings.dtype)  # n D
            logits = F.linear(states, matrix, offset)  # n V
            chunk = score(logits, labels[part], settings.weights, wanted, *_said(settings, part))
            if wanted:
                gradients.add(part, chunk.gradient, states, matrix)
            sums.append(torch.stack((chunk.loss, chunk.nats, *chunk.parts)))
        ctx.gradients = gradients
        ctx.dtypes = (hidden.dtype, weight.dtype, weight.dtype if bias is None else bias.dtype)
        summed = torch.stack(sums).sum(0)
        loss, others = summed[0].clone(), summed[1:].clone()
        ctx.mark_non_differentiable(others)
        return loss, others

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *by_outputs: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise RuntimeError(
                "The fused loss was sent backward twice; its gradients are made once, in the"
                " forward pass. Run the forward pass again, or use loss: plain."
            )
        return (*gradients.scaled(by_outputs[0], *ctx.dtypes), None, None)


def _score(logits: Tensor, labels: Tensor, weights: Weights, wanted: bool) -> _Chunk:
    """Scores some rows (n V) and, where wanted, turns the logits into the gradient by them.

    With q the smoothed target, p the softmax and z its log-denominator, the loss of a row is
    cross-entropy(q, p) + c·z² and its gradient p·(1 + 2·c·z) - q. The target's own entry is made
    apart in float32, since p - 1 would lose all its digits in bfloat16 where p is nearly 1.
    """
    exact = logits if logits.dtype.itemsize >= 4 else logits.float()
    labelled = labels != IGNORE  # n
    target = labels.where(labelled, 0)[:, None]  # n 1
    log_z = exact.logsumexp(-1, keepdim=True)  # n 1
    log_p = exact.gather(1, target) - log_z  # n 1
    rows = labelled[:, None].to(log_z.dtype)  # n 1
    nats = -(log_p * rows).sum()
    loss = _loss(exact, log_z, log_p, rows, weights)
    if not wanted:
        return _Chunk(loss, nats, logits)
    factor = (1 + 2 * weights.z_loss * log_z) * rows
    spread = weights.label_smoothing / exact.shape[-1] * rows
    own = log_p.exp() * factor - spread - (1 - weights.label_smoothing) * rows
    gradient = exact.sub_(log_z).exp_().mul_(factor)  # in place: new memory costs more than work
    if weights.label_smoothing:
        gradient = gradient.sub_(spread)
    gradient = gradient.to(logits.dtype)
    return _Chunk(loss, nats, gradient.scatter_(1, target, own.to(logits.dtype)))


def _advised(logits: Tensor, labels: Tensor, weights: Weights, wanted: bool, told: _Told) -> _Chunk:
    """Scores some rows (n V) by their labels and by what a teacher says of them (n V)."""
    said, alpha, temperature = told
    there = labels != IGNORE  # n
    soft, p, q = softened(logits, said, temperature)  # n, n V, n V
    same = (logits.argmax(-1) == said.argmax(-1)) & there  # n
    hard = _score(logits, labels, weights, wanted)
    soft = soft.masked_fill(~there, 0).sum()
    loss = (1 - alpha) * hard.loss + alpha * soft
    gradient = hard.gradient
    if wanted:
        towards = p.sub_(q).mul_(alpha * temperature * there[:, None])
        gradient = hard.gradient.mul_(1 - alpha).add_(towards.to(logits.dtype))
    return _Chunk(loss, hard.nats, gradient, (hard.loss, soft, same.sum().to(loss.dtype)))


def _said(settings: _Settings, part: slice) -> tuple[_Told, ...]:
    """Gives what a teacher says of some rows, and how much that counts; nothing without one."""
    teaching = settings.teaching
    if teaching is None:
        return ()
    return (_Told(teaching.logits(part), teaching.alpha, teaching.temperature),)


def _scorer(settings: _Settings) -> Callable[..., _Chunk]:
    plain = _score if settings.teaching is None else _advised
    return _compiled(plain) if settings.compiled else plain


def _loss(exact: Tensor, log_z: Tensor, log_p: Tensor, rows: Tensor, weights: Weights) -> Tensor:
    """Mixes the parts of the loss; those that are off cost nothing."""
    per_row = -(1 - weights.label_smoothing) * log_p  # n 1
    if weights.label_smoothing:
        uniform = log_z - exact.mean(-1, keepdim=True)  # cross-entropy with the uniform guess
        per_row = per_row + weights.label_smoothing * uniform
    if weights.z_loss:
        per_row = per_row + weights.z_loss * log_z.square()
    return (per_row * rows).sum()


def _accumulate(total: Tensor, more: Tensor) -> None:
    """Adds in one pass where it is compiled; torch would first copy `more` in the sum's format."""
    total += more


@cache
def _compiled_accumulate() -> Callable[..., None]:
    return torch.compile(_accumulate, dynamic=False)


@cache
def _compiled(score: Callable[..., _Chunk]) -> Callable[..., _Chunk]:
    return torch.compile(score, dynamic=False)
