"""What goes into a forward pass and what comes out: step batches and Score.

Shape letters, the same in every file of roots:
    B sequences in a batch   T tokens in a sequence   V vocabulary   L layers
    D model width            H attention heads        K width per head   C classes
    U tokens of a target
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

Batch = TypeVar("Batch", bound="StepBatch")
Tokens = TypeVar("Tokens", bound="TokenBatch")

IGNORE = -100
"""The label of a position that has no target; torch's `ignore_index`."""


@dataclass(frozen=True, kw_only=True)
class StepBatch:
    """One rank's share of the rows of one optimizer step, whatever is learned from them.

    A field is a tensor whose first dimension are the rows, a mapping of names to such tensors, or
    a plain value. What `ON_HOST` names is only read by the host and never moved.

    Args:
        labels: What is to be predicted; `IGNORE`, or NaN among numbers, where there is nothing.
        samples: The number of each row in the data's order, -1 for a filler row, (B,), on the host.
        step: The optimizer step that this share belongs to, counted from 0.
        n_read: With how many of its first rows some rank has one that is no filler: no micro-batch
            is made of what comes behind them. 0 where all rows are read.
    """

    ON_HOST: ClassVar[frozenset[str]] = frozenset({"samples"})

    labels: Shaped[Tensor, "B ..."]
    samples: Int[Tensor, " B"]
    step: int
    n_read: int = 0

    def __len__(self) -> int:
        """Counts the rows, fillers included."""
        return self.labels.shape[0]

    @property
    def n_labels(self) -> Int[Tensor, ""]:
        """Counts what is labelled: a 0-d tensor on the batch's device."""
        return labelled(self.labels).sum()

    def split(self: Batch, rows: int) -> Iterator[Batch]:
        """Cuts the share into micro-batches of `rows` rows; the last may hold fewer."""
        whole = replace(self, n_read=0)
        for start in range(0, self.n_read or len(self), rows):
            part = slice(start, start + rows)
            yield whole._with({name: self._part(name, v, part) for name, v in self._tensors()})

    def only(self: Batch, chosen: Bool[Tensor, " B"]) -> Batch:
        """Gives the rows that are chosen, on the host."""
        wanted = chosen.nonzero()[:, 0]
        return self._with({name: self._part(name, v, wanted) for name, v in self._tensors()})

    def to(self: Batch, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Moves the tensors to `device`, except those that only the host reads.

        The host waits for no copy of pinned tensors, whatever `non_blocking` says: the device's
        work on them comes after the copy, and nobody writes to a batch.
        """

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=non_blocking or tensor.is_pinned())

        return self._with({name: each(moved, value) for name, value in self._for_the_device()})

    def pin_memory(self: Batch) -> Batch:
        """Pins the tensors, so that a copy to the GPU can overlap with its work."""
        pinned = {name: each(Tensor.pin_memory, value) for name, value in self._for_the_device()}
        return self._with(pinned)

    def _lengths_of(self, name: str) -> Tensor | None:  # noqa: ARG002 - for a subclass
        """Gives the lengths of a field's rows, where each part is cut to its own longest."""
        return None

    def _part(self, name: str, value: Any, part: slice | Tensor) -> Any:
        lengths = self._lengths_of(name)
        if lengths is None:
            return each(lambda tensor: tensor[part], value)
        longest = int(lengths[part].max())
        return each(lambda tensor: tensor[part, ..., :longest], value)

    def _with(self: Batch, tensors: dict[str, Any]) -> Batch:
        return replace(self, **tensors)

    def _for_the_device(self) -> Iterator[tuple[str, Any]]:
        return ((name, value) for name, value in self._tensors() if name not in self.ON_HOST)

    def _tensors(self) -> Iterator[tuple[str, Any]]:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (Tensor, Mapping)):
                yield field.name, value


@dataclass(frozen=True, kw_only=True)
class TokenBatch(StepBatch):
    """Rows of one length, each position with a token to predict.

    `labels[t]` is the target *of position t*: the shift was done once, when the batch was made.

    Args:
        input_ids: Tokens, (B, T).
        n_bytes: UTF-8 bytes that the labelled tokens of each row stand for, (B,).
        document_ids: The document of each token, (B, T), -1 for what is none: attention and
            positions are kept apart by them. None where a row is one sequence.
        cuts: Into how many rows each sample was cut; they stand one behind the other.
    """

    input_ids: Int[Tensor, "B T"]
    n_bytes: Int[Tensor, " B"]
    document_ids: Int[Tensor, "B T"] | None = None
    cuts: int = 1

    def split(self: Tokens, rows: int) -> Iterator[Tokens]:
        """Cuts the share into micro-batches of `rows` samples; the last may hold fewer."""
        return super().split(rows * self.cuts)


@dataclass(frozen=True, kw_only=True)
class MaskedBatch(TokenBatch):
    """Rows in which tokens were hidden; their labels stand where they stood.

    Args:
        places: Where the labels of each row are, -1 behind the last, (B, P). The rows that a sample
            was cut into share one list, which counts from the first token of the first of them.
        lengths: Tokens of each row, (B,), on the host.
        attention_mask: 1 for the tokens of a row and 0 for what fills it up, (B, T); None where
            rows are packed.
        is_cut: Whether each micro-batch is cut down to its own longest row; else all have T tokens,
            so that what is compiled for them stays.
    """

    ON_HOST: ClassVar[frozenset[str]] = frozenset({"samples", "lengths"})

    places: Int[Tensor, "B P"]
    lengths: Int[Tensor, " B"]
    attention_mask: Int[Tensor, "B T"] | None = None
    is_cut: bool = False

    @property
    def is_filled_up(self) -> bool:
        """Whether a row is shorter than the batch is wide; the host knows without the device."""
        return bool((self.lengths < self.input_ids.shape[1]).any())

    @property
    def places_of_samples(self) -> Int[Tensor, "S P"]:
        """Where the labels of each sample are, in its rows one behind the other."""
        return self.places.reshape(len(self) // self.cuts, -1)

    def _lengths_of(self, name: str) -> Tensor | None:
        cut = self.is_cut and name in ("input_ids", "labels", "attention_mask")
        return self.lengths if cut else None


@dataclass(frozen=True, kw_only=True)
class RaggedTokenBatch(TokenBatch):
    """Rows of tokens of different lengths; each micro-batch is cut down to its own longest row.

    They are filled up behind their ends, where a causal network cannot see, so there is no mask.

    Args:
        lengths: Tokens of each row, (B,), on the host.
    """

    ON_HOST: ClassVar[frozenset[str]] = frozenset({"samples", "lengths"})

    lengths: Int[Tensor, " B"]

    def _lengths_of(self, name: str) -> Tensor | None:
        return self.lengths if name in ("input_ids", "labels") else None


@dataclass(frozen=True, kw_only=True)
class TaskBatch(StepBatch):
    """Rows of different lengths, padded; each micro-batch is cut down to its own longest row.

    Args:
        inputs: What the network's forward takes, by its names: `input_ids`, `attention_mask`, …,
            each (B, T). Filled up behind a row's end.
        lengths: Tokens of each row, (B,), on the host.
        labels: One per row (B,), several (B, C), or one per token (B, T): the last are cut like
            the inputs when `per_token` says so.
        per_token: Whether the labels' second dimension is that of the tokens.
        about: What a metric or a person needs to know of each row beside its labels, B items, None
            for a filler row; empty where there is nothing to know.
    """

    ON_HOST: ClassVar[frozenset[str]] = frozenset({"samples", "lengths"})

    inputs: Mapping[str, Int[Tensor, "B T"]]
    lengths: Int[Tensor, " B"]
    per_token: bool = False
    about: Sequence[Any] = ()

    def split(self, rows: int) -> Iterator[TaskBatch]:
        """Cuts the share into micro-batches of `rows` rows; the last may hold fewer."""
        for number, part in enumerate(super().split(rows)):
            known = self.about[number * rows : (number + 1) * rows]
            yield replace(part, about=known) if known else part

    def _lengths_of(self, name: str) -> Tensor | None:
        cut = name == "inputs" or (name == "labels" and self.per_token)
        return self.lengths if cut else None


@dataclass(frozen=True, kw_only=True)
class PairBatch(TaskBatch):
    """Sources and their targets; each micro-batch is cut to the longest of either side.

    `labels[t]` is the target *of decoder position t*, (B, U), with the token that ends a text as
    the last. What the decoder reads, which is the same one place to the right, the network makes of
    the labels (`networks.Seq2SeqTrainable`). `inputs` and `lengths` are the source's.

    Args:
        target_lengths: Labels of each row, (B,), on the host; 1 for a filler row.
    """

    ON_HOST: ClassVar[frozenset[str]] = frozenset({"samples", "lengths", "target_lengths"})

    target_lengths: Int[Tensor, " B"]

    def _lengths_of(self, name: str) -> Tensor | None:
        return self.target_lengths if name == "labels" else super()._lengths_of(name)


@dataclass(frozen=True, kw_only=True)
class PreferenceBatch(StepBatch):
    """Pairs of rows, the preferred one first; each micro-batch is cut down to its longest row.

    They are filled up behind their ends, where a causal network cannot see, so there is no mask.

    Args:
        tokens: Both rows of each pair, (B, 2, T).
        labels: The next token of each position where it is the answer's, (B, 2, T).
        lengths: Tokens of the longer row of each pair, (B,), on the host.
    """

    ON_HOST: ClassVar[frozenset[str]] = frozenset({"samples", "lengths"})
    document_ids: ClassVar[None] = None

    tokens: Int[Tensor, "B 2 T"]
    lengths: Int[Tensor, " B"]

    @property
    def input_ids(self) -> Int[Tensor, "R T"]:
        """The rows one under another, as a network reads them: R = 2 B."""
        return self.tokens.flatten(0, 1)

    @property
    def n_labels(self) -> Int[Tensor, ""]:
        """Counts the pairs that are no filler."""
        return labelled(self.labels[:, 0]).any(-1).sum()

    def _lengths_of(self, name: str) -> Tensor | None:
        return self.lengths if name in ("tokens", "labels") else None


class Score(NamedTuple):
    """What one forward pass says of its labels: sums, so that they add up.

    Args:
        loss: What is optimized, summed: the nats plus the regularisers; carries the gradient.
        nats: The plain cross-entropy (or squared error), summed, without gradient.
        n_labels: How much was labelled.
        outputs: What the network says of each row, without gradient, where that is measured.
        parts: What else is summed over the labels and reported beside the loss, by its name,
            without gradient: what a teacher adds (`hard_loss`, `soft_loss`, `agreement`).
    """

    loss: Float[Tensor, ""]
    nats: Float[Tensor, ""]
    n_labels: Int[Tensor, ""]
    outputs: Float[Tensor, "B ..."] | None = None
    parts: Mapping[str, Tensor] = {}


def labelled(labels: Tensor) -> Tensor:
    """Tells, place by place, whether there is a label."""
    return ~labels.isnan() if labels.is_floating_point() else labels != IGNORE


def each(function: Any, value: Tensor | Mapping[str, Tensor]) -> Any:
    """Applies a function to a tensor, or to each one of a mapping."""
    if isinstance(value, Tensor):
        return function(value)
    return {name: function(tensor) for name, tensor in value.items()}
