"""The loss of a masked language model: only the labelled positions meet the vocabulary.

Shape letters: B sequences, T tokens, P places of a row, N labelled positions, D model width,
V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from roots.batch import IGNORE, Score
from roots.objectives.chunk_rows import rows_of
from roots.objectives.next_token import NextToken
from roots.objectives.teaching import Teaching

NO_PLACE = -1
"""Fills a list of places up."""


@runtime_checkable
class SplitHead(Protocol):
    """A head in two parts, as `roots.networks.split_mlm_head` finds it."""

    @property
    def transform(self) -> Callable[[Tensor], Tensor]:
        """Makes states what the projection takes."""

    @property
    def projection(self) -> nn.Module:
        """The projection to the vocabulary."""


class MaskedToken:
    """Finds the hidden tokens: cross-entropy of the labelled positions.

    The states of these positions are gathered before the head, so that head, projection and loss
    cost what they hold: 15 to 30 % of the positions. Loss and gradients are those of all logits.

    Args:
        label_smoothing: Share of the target's probability that is spread evenly over the
            vocabulary, 0 to 1.
        z_loss: Weight of the squared log of the softmax's denominator.
        kernel: How projection and loss are made, as in `NextToken`.
        compiled: Compile the fused kernel's work on the logits.

    Raises:
        ConfigError: As `NextToken`.
    """

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        z_loss: float = 0.0,
        kernel: str = "fused",
        compiled: bool = False,
    ) -> None:
        self._loss = NextToken(
            label_smoothing=label_smoothing, z_loss=z_loss, kernel=kernel, compiled=compiled
        )
        self.label_smoothing = label_smoothing
        self.z_loss = z_loss
        self.kernel = kernel
        self.compiled = compiled

    def beside(self, teaching: Teaching) -> MaskedToken:
        """Makes the same loss of a batch for which a teacher says something too."""
        advised = copy.copy(self)
        advised._loss = self._loss.beside(teaching)
        return advised

    def from_hidden(
        self,
        hidden: Float[Tensor, "B T D"],
        head: nn.Module | SplitHead,
        labels: Int[Tensor, "B T"],
        places: Int[Tensor, "S P"] | Int[Tensor, " N"] | None = None,
    ) -> Score:
        """Scores the labelled positions from the hidden states.

        Args:
            hidden: The encoder's states.
            head: Makes logits of states; in two parts, the second one is fused with the loss.
            labels: The hidden tokens, `IGNORE` elsewhere.
            places: Where the labels are: in each row, or in each sample of as many rows, as
                `row_places` lists them; or in all rows, as `flat_places` does. Without them the
                host waits for the device to learn how many there are.

        Returns:
            Its outputs, without gradients only, tell of each place whether the best guess is the
            hidden token, (N,): they cost a second projection.
        """
        if places is None:
            places = _labelled(labels)
        elif places.dim() > 1:
            places = flat_places(places, labels.numel() // len(places))
        at = places.clamp(min=0)
        states = hidden.flatten(0, -2).index_select(0, at)[None]  # 1 N D
        targets = labels.flatten().index_select(0, at).masked_fill(places < 0, IGNORE)[None]
        if isinstance(head, SplitHead):
            states, head = head.transform(states), head.projection  # 1 N E
        teaching, loss = self._loss.teaching, self._loss
        loss = loss if teaching is None else loss.beside(teaching.at(at))
        score = loss.from_hidden(states, head, targets)
        if torch.is_grad_enabled():
            return score
        return score._replace(outputs=_hits(states[0], head, targets[0]))

    def from_logits(self, logits: Float[Tensor, "B T V"], labels: Int[Tensor, "B T"]) -> Score:
        """Scores the labelled positions from all logits."""
        score = self._loss.from_logits(logits, labels)
        if torch.is_grad_enabled():
            return score
        return score._replace(outputs=(logits.argmax(-1) == labels).flatten().float())


def row_places(labels: Int64[np.ndarray, "B T"], *, multiple: int = 8) -> Int64[np.ndarray, "B P"]:
    """Lists where the labels of each row are, on the host, where that is known.

    A row's places can be cut off a batch with the row, and their number is the same for many
    batches: shapes stay, and what is compiled for them.

    Args:
        labels: The hidden tokens, `IGNORE` elsewhere.
        multiple: P is the most that a row has, rounded up to a multiple of this.

    Returns:
        Positions in the row, `NO_PLACE` (-1) behind the last; P is at least `multiple`.
    """
    labelled = labels != IGNORE
    counts = labelled.sum(1)
    most = max(int(counts.max(initial=0)), 1)
    places = np.full((len(labels), -(-most // multiple) * multiple), NO_PLACE, dtype=np.int64)
    places[np.arange(places.shape[1]) < counts[:, None]] = np.nonzero(labelled)[1]
    return places


def flat_places(places: Int[Tensor, "B P"], seq_len: int) -> Int[Tensor, " N"]:
    """Turns places in each row into places in all rows, one behind the other."""
    first = torch.arange(len(places), device=places.device)[:, None] * seq_len
    return (places + first).masked_fill(places < 0, NO_PLACE).flatten()


def _hits(
    states: Float[Tensor, "N E"], projection: nn.Module, targets: Int[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """Tells whether the likeliest token is the target, some rows at a time."""
    best = [projection(part).argmax(-1) for part in states.split(rows_of(states.device))]
    return (torch.cat(best) == targets).float()


def _labelled(labels: Int[Tensor, "B T"]) -> Int[Tensor, " N"]:
    """Finds the labelled positions; one that is none where there are none, to keep the graph."""
    found: Tensor = (labels.flatten() != IGNORE).nonzero().squeeze(1)
    none: Tensor = found.new_full((1,), NO_PLACE)
    return found if len(found) else none
