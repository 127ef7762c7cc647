"""Steps whose texts are changed, and tokenized, when they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int64

from roots.batch import StepBatch
from roots.data.augment import Augment
from roots.data.like_lengths import LikeLengths
from roots.data.splits import Split, TaskSteps
from roots.data.steps import Share
from roots.objectives import Key

Text = str | tuple[str, str]


class AugmentedSteps(TaskSteps):
    """Item n is this rank's share of the n-th optimizer step, a pure function of (seed, n).

    Args:
        split: The rows as they are; its `texts` are what is changed.
        order: Which rows a step has.
        share: This rank's part of them.
        augment: Changes a text.
        framed: Tokenizes texts, and lays the labels beside them.
        seed: The run's.
    """

    def __init__(
        self,
        split: Split,
        order: LikeLengths,
        share: Share,
        *,
        augment: Augment,
        framed: Callable[[Sequence[Text], Int64[np.ndarray, " B"]], Split],
        seed: int,
    ) -> None:
        super().__init__(split, order, share)
        self.augment = augment
        self.framed = framed
        self.seed = seed

    def texts(self, step: int) -> list[Text]:
        """Gives the texts of this rank's share of a step, changed."""
        positions = self.share.of(self.order.positions(step))
        rows = self.share.of(self.order.samples(step))
        epochs = positions // len(self.split)
        pairs = zip(rows.tolist(), epochs.tolist(), strict=True)
        return [self._changed(self.split.texts[row], row, epoch) for row, epoch in pairs]

    def __getitem__(self, step: int) -> StepBatch:
        """Reads the share of a step."""
        rows = np.ascontiguousarray(self.share.of(self.order.samples(step)))
        changed = self.framed(self.texts(step), rows)
        batch = changed.batch(np.arange(len(rows)), step)
        return replace(batch, samples=torch.from_numpy(rows))

    def _changed(self, text: Text, row: int, epoch: int) -> Text:
        key = Key(self.seed, row, epoch)
        if isinstance(text, str):
            return self.augment(text, key)
        if not self.augment.changes(key):
            return text
        first, second = text  # a pair's second text is changed as another row's, behind all others
        behind = Key(self.seed, row + len(self.split), epoch)
        return self.augment.changed(first, key), self.augment.changed(second, behind)
