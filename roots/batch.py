"""What goes into a forward pass and what comes out: StepBatch and Score.

Shape letters, the same in every file of roots:
    B sequences in a batch   T tokens in a sequence   V vocabulary   L layers
    D model width            H attention heads        K width per head
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

IGNORE = -100
"""The label of a position that has no target; torch's `ignore_index`."""


@dataclass(frozen=True)
class StepBatch:
    """One rank's share of the sequences of one optimizer step.

    `labels[t]` is the target *of position t*: the shift was done once, when the batch was made.

    Args:
        input_ids: Tokens, (B, T).
        labels: The target of each position, `IGNORE` where there is none, (B, T).
        samples: The number of each row in the data's order, -1 for a filler row, (B,), on the host.
        step: The optimizer step that this share belongs to, counted from 0.
        n_bytes: UTF-8 bytes that the labelled tokens of each row stand for, (B,).
    """

    input_ids: Int[Tensor, "B T"]
    labels: Int[Tensor, "B T"]
    samples: Int[Tensor, " B"]
    step: int
    n_bytes: Int[Tensor, " B"]

    def __len__(self) -> int:
        """Counts the rows, fillers included."""
        return self.input_ids.shape[0]

    @property
    def n_labels(self) -> Int[Tensor, ""]:
        """Counts the labelled positions: a 0-d tensor on the batch's device."""
        return (self.labels != IGNORE).sum()

    def split(self, rows: int) -> Iterator[StepBatch]:
        """Cuts the share into micro-batches of `rows` rows; the last may hold fewer."""
        for start in range(0, len(self), rows):
            part = slice(start, start + rows)
            tensors = {name: value[part] for name, value in self._tensors()}
            yield self._with(tensors)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> StepBatch:
        """Moves the tensors to `device`, except `samples`, which only the host reads.

        The host waits for no copy of pinned tensors, whatever `non_blocking` says: the device's
        work on them comes after the copy, and nobody writes to a batch.
        """
        moved = {
            name: value.to(device, non_blocking=non_blocking or value.is_pinned())
            for name, value in self._for_the_device()
        }
        return self._with(moved)

    def pin_memory(self) -> StepBatch:
        """Pins the tensors, so that a copy to the GPU can overlap with its work."""
        return self._with({name: value.pin_memory() for name, value in self._for_the_device()})

    def _with(self, tensors: dict[str, Tensor]) -> StepBatch:
        changed: dict[str, Any] = dict(tensors)
        return replace(self, **changed)

    def _for_the_device(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, value) for name, value in self._tensors() if name != "samples")

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                yield field.name, value


class Score(NamedTuple):
    """What one forward pass says of its labelled positions: sums, so that they add up.

    Args:
        loss: What is optimized, summed: the nats plus the regularisers; carries the gradient.
        nats: The plain cross-entropy, summed, without gradient.
        n_labels: How many positions were labelled.
    """

    loss: Float[Tensor, ""]
    nats: Float[Tensor, ""]
    n_labels: Int[Tensor, ""]
