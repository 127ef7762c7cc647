"""What a teacher says of the positions of a batch, beside their labels.

A student's loss is (1 - a) · the loss by the labels + a · T² · KL(teacher ‖ student), both of
distributions softened by the temperature T, summed over what is labelled; T² keeps the size of its
gradient while T changes (Hinton et al., arXiv:1503.02531, section 2).

Shape letters: N positions, n of them, D model width, V vocabulary, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from roots.batch import Score

PARTS = ("hard_loss", "soft_loss", "agreement")
"""What is reported beside the loss: its two parts, and of how many labels teacher and student have
the same best guess."""


class Advice(Protocol):
    """What a teacher says of N positions."""

    def __call__(self, rows: slice | Int[Tensor, " n"]) -> Float[Tensor, "n V"]:
        """Makes the logits of some of them, without gradient."""


@dataclass(frozen=True)
class Teaching:
    """What a teacher says of a batch, and how much it counts.

    Args:
        said: Of a language model an `Advice`, of a network with another head its output.
        alpha: The soft loss's share of the loss, 0 to 1.
        temperature: What the logits of both are divided by.
        places: Which positions are scored, where those are not all.
    """

    said: Any
    alpha: float
    temperature: float
    places: Int[Tensor, " N"] | None = None

    def at(self, places: Int[Tensor, " N"]) -> Teaching:
        """Gives the same for those positions alone."""
        return replace(self, places=places)

    def logits(self, part: slice) -> Float[Tensor, "n V"]:
        """Gives the teacher's logits of some of the positions that are scored."""
        logits: Float[Tensor, "n V"] = self.said(part if self.places is None else self.places[part])
        return logits

    def mixed(self, hard: Score, sums: Sequence[Tensor]) -> Score:
        """Mixes a score by the labels with the soft loss, and the count of equal guesses."""
        loss = (1 - self.alpha) * hard.loss + self.alpha * sums[0]
        values = [hard.loss, *sums]
        parts = {n: value.detach() for n, value in zip(PARTS, values, strict=False)}
        return hard._replace(loss=loss, parts=parts)


def softened(
    student: Tensor, teacher: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:  # compiled into the fused loss: no shapes to check
    """Gives T² · KL(teacher ‖ student) of each row, and the two softened distributions.

    Args:
        student: Logits of any float type, (…, V); at least float32 is computed with.
        teacher: Logits, (…, V).
        temperature: T.

    Returns:
        The divergence in nats times T², (…); the student's and the teacher's probabilities, (…, V)
        each. The gradient of the first by the student's logits is T · (second - third).
    """
    log_p, log_q = (
        (each if each.dtype.itemsize >= 4 else each.float()).div(temperature).log_softmax(-1)
        for each in (student, teacher)
    )
    q = log_q.exp()
    apart = (log_q - log_p).masked_fill(q == 0, 0)  # what has no probability may be at -inf
    return temperature**2 * (q * apart).sum(-1), log_p.exp(), q


class Heard:
    """What the body of a teacher made of a batch; its logits are made when they are asked for.

    They are made as under the autocast of the moment when it was heard.

    Args:
        states: Of all positions, (N, D).
        head: Makes logits of them: a projection, or a transform and a projection.
    """

    def __init__(self, states: Float[Tensor, "N D"], head: Any) -> None:
        self.states = states
        device = states.device.type
        on = torch.is_autocast_enabled(device)
        self._format = (device, torch.get_autocast_dtype(device), on)
        self._transform = getattr(head, "transform", None)
        self._project = self._cast(getattr(head, "projection", head))

    @torch.no_grad()
    def __call__(self, rows: slice | Int[Tensor, " n"]) -> Float[Tensor, "n V"]:
        """Makes the logits of some positions."""
        device, dtype, on = self._format
        with torch.autocast(device, dtype=dtype, enabled=on):
            states = self.states[rows]
            if self._transform is not None:
                states = self._transform(states)
            logits: Float[Tensor, "n V"] = self._project(states)
        return logits

    def _cast(self, head: nn.Module) -> Any:
        """Casts a projection once: autocast would do it again for each chunk."""
        if type(head) is not nn.Linear:
            return head
        _, dtype, on = self._format
        matrix = head.weight.detach().to(dtype if on else head.weight.dtype)  # V D
        offset = None if head.bias is None else head.bias.detach().to(matrix.dtype)
        return lambda states: F.linear(states.to(matrix.dtype), matrix, offset)


class Listener:
    """Stands in a teacher where its loss would be: scores nothing, and keeps what it is given."""

    def __init__(self) -> None:
        self.heard: Any = None

    def from_hidden(
        self,
        hidden: Float[Tensor, "B T D"],
        head: Any,
        labels: Int[Tensor, "B T"],
        places: Tensor | None = None,
    ) -> Score:
        """Keeps the states and the head, of all positions."""
        del labels, places
        self.heard = Heard(hidden.flatten(0, -2), head)
        return _nothing(hidden)

    def from_logits(self, logits: Float[Tensor, "B T V"], labels: Int[Tensor, "B T"]) -> Score:
        """Keeps the logits, of all positions."""
        del labels
        self.heard = logits.flatten(0, -2).__getitem__
        return _nothing(logits)

    def __call__(self, output: Any, labels: Tensor) -> Score:
        """Keeps the output of a network with another head."""
        self.heard = output
        return _nothing(labels)


def _nothing(like: Tensor) -> Score:
    zero = torch.zeros((), device=like.device)
    return Score(zero, zero, zero.long())


def soft_sums(
    logits: Float[Tensor, "N V"], there: Tensor, teaching: Teaching, *, rows: int
) -> list[Tensor]:
    """Gives the soft loss, summed, with its gradient, and the number of equal best guesses.

    Some rows at a time, and again in the backward pass: nothing of the size of the logits is kept.

    Args:
        logits: The student's.
        there: Whether there is a label, (N,).
        teaching: Says what the teacher says.
        rows: How many at a time.
    """

    def some(mine: Tensor, counts: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        said = teaching.logits(part)
        soft, _, _ = softened(mine, said, teaching.temperature)
        same = (mine.argmax(-1) == said.argmax(-1)) & counts
        return soft.masked_fill(~counts, 0).sum(), same.sum()

    parts = [slice(start, start + rows) for start in range(0, len(logits), rows)]
    sums = [
        checkpoint(some, logits[p], there[p], p, use_reentrant=False, preserve_rng_state=False)
        for p in parts
    ]
    return [torch.stack(each).sum() for each in zip(*sums, strict=True)]
