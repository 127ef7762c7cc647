"""A part of a labelled data set as the network reads it, and the datasets of steps over it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch.utils.data import Dataset

from roots.batch import IGNORE, StepBatch, TaskBatch
from roots.data.like_lengths import LikeLengths
from roots.data.ragged import Ragged
from roots.data.steps import Share
from roots.tokenizer import Framed


@dataclass(frozen=True)
class Split:
    """Rows with their labels, in memory.

    Args:
        input_ids: The tokens of each row.
        labels: One label per row (R,), several (R, C), or one per token.
        where: Where each row stands in its source, for messages.
        pad_id: The token that fills up.
        others: What else the network reads of each token, by its argument's name: filled up by 0.
        about: What a metric needs to know of each row beside its labels.
        n_cut: How many rows lost tokens because they were too long.
        texts: What was tokenized, where it is read again in each epoch.
    """

    input_ids: Ragged
    labels: Shaped[np.ndarray, "R ..."] | Ragged
    where: Sequence[str]
    pad_id: int
    others: Mapping[str, Ragged] = field(default_factory=dict)
    about: Sequence[object] = ()
    n_cut: int = 0
    texts: Sequence[str | tuple[str, str]] = ()

    def __len__(self) -> int:
        """Counts the rows."""
        return len(self.input_ids)

    @property
    def lengths(self) -> Int64[np.ndarray, " R"]:
        """Counts the tokens of each row."""
        return self.input_ids.lengths

    @property
    def sides(self) -> Sequence[Int64[np.ndarray, "R ..."]]:
        """Gives the lengths of each tensor of a row that is filled up by itself."""
        return (self.lengths,)

    @property
    def digest(self) -> bytes:
        """Changes when a token or a label changes."""
        found = hashlib.sha256(self.input_ids.values.tobytes() + self.input_ids.ends.tobytes())
        labels = self.labels.values if isinstance(self.labels, Ragged) else self.labels
        found.update(np.ascontiguousarray(labels).tobytes())
        return found.digest()

    def batch(self, rows: Int64[np.ndarray, " B"], step: int) -> StepBatch:
        """Lays rows under each other; a row of -1 is filler, the tokens of another, unlabelled."""
        read = self.filled(rows)
        ids = self.input_ids.padded(read, self.pad_id)  # B T
        lengths = self.lengths[read]
        mask = np.arange(ids.shape[1]) < lengths[:, None]
        arrays = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
        arrays |= {name: ragged.padded(read, 0) for name, ragged in self.others.items()}
        return TaskBatch(
            inputs={name: torch.from_numpy(array) for name, array in arrays.items()},
            labels=torch.from_numpy(self._labels(rows)),
            lengths=torch.from_numpy(lengths),
            samples=torch.from_numpy(rows),
            step=step,
            per_token=isinstance(self.labels, Ragged),
            about=[self.about[row] if row >= 0 else None for row in rows] if self.about else (),
        )

    def filled(self, rows: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
        """Gives the row that is read in each place: in that of filler (-1), one of the others.

        Where there is none, the shortest. Heads that look for a token in each row (the end of a
        text for BART, separators for Longformer) find it, and nothing gets longer.
        """
        there = rows[rows >= 0]
        stand_in = there[-1] if len(there) else int(self.lengths.argmin())
        return np.where(rows >= 0, rows, stand_in)

    def _labels(self, rows: Int64[np.ndarray, " B"]) -> Shaped[np.ndarray, "B ..."]:
        if isinstance(self.labels, Ragged):
            laid = self.labels.padded(self.filled(rows), IGNORE)
            laid[rows < 0] = IGNORE
            return laid
        found: Shaped[np.ndarray, "B ..."] = self.labels[rows]
        found[rows < 0] = np.nan if found.dtype.kind == "f" else IGNORE
        return found


def framed_split(
    framed: Sequence[Framed],
    *,
    labels: Shaped[np.ndarray, "R ..."] | Ragged,
    where: Sequence[str],
    pad_id: int,
) -> Split:
    """Makes a split of framed texts; type ids are kept where there are any but 0."""
    others = {}
    if any(any(f.type_ids) for f in framed):
        others["token_type_ids"] = Ragged.of([f.type_ids for f in framed])
    return Split(
        input_ids=Ragged.of([f.ids for f in framed]),
        labels=labels,
        where=where,
        pad_id=pad_id,
        others=others,
        n_cut=sum(f.was_cut for f in framed),
    )


class TaskSteps(Dataset[StepBatch]):
    """Item n is this rank's share of the n-th optimizer step."""

    def __init__(self, split: Split, order: LikeLengths, share: Share) -> None:
        self.split = split
        self.order = order
        self.share = share

    def __getitem__(self, step: int) -> StepBatch:
        """Reads the share of a step."""
        rows = self.share.of(self.order.samples(step))
        return self.split.batch(np.ascontiguousarray(rows), step)


class TaskEvaluation(Dataset[StepBatch]):
    """All rows of a split once, the longest first, in as many equal batches on every rank."""

    def __init__(self, split: Split, *, share: Share) -> None:
        self.split = split
        self.share = share
        self.size = share.rows * share.ranks
        """Rows of a batch, over all ranks."""
        self._order = np.argsort(-split.lengths, kind="stable")

    def __len__(self) -> int:
        """Counts the batches, the same on every rank."""
        return math.ceil(len(self.split) / self.size)

    def __getitem__(self, index: int) -> StepBatch:
        """Reads this rank's share of a batch; rows past the end are filler."""
        if index >= len(self):
            raise IndexError(index)
        here = np.full(self.size, -1, dtype=np.int64)
        found = self._order[index * self.size : (index + 1) * self.size]
        here[: len(found)] = found
        return self.split.batch(self.share.of(here), index)
