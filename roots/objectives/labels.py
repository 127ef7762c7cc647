"""Losses of labels that stand beside a text: classes, several at once, values, spans.

Each gives a sum over what is labelled and leaves the dividing to the step, which knows how many
labels all ranks have. Shape letters: B rows, T tokens, C classes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from roots.batch import IGNORE, Score, labelled
from roots.errors import ConfigError
from roots.objectives.next_token import check_label_smoothing
from roots.objectives.teaching import Teaching, softened


class TaskLoss(ABC):
    """A loss of what a network says of rows; a teacher may say something of them too."""

    @abstractmethod
    def __call__(self, output: Any, labels: Tensor) -> Score:
        """Scores a network's output against labels."""

    @abstractmethod
    def soft(self, output: Any, said: Any, labels: Tensor, temperature: float) -> list[Tensor]:
        """Gives the soft loss of what is labelled, summed, and how many best guesses are the same.

        Args:
            output: The student's.
            said: The teacher's.
            labels: They tell what is labelled.
            temperature: What the logits of both are divided by.
        """

    def beside(self, teaching: Teaching) -> Callable[[Any, Tensor], Score]:
        """Makes the loss of a batch for which a teacher says something too."""

        def both(output: Any, labels: Tensor) -> Score:
            soft = self.soft(output, teaching.said, labels, teaching.temperature)
            return teaching.mixed(self(output, labels), soft)

        return both


class Classes(TaskLoss):
    """One of several classes, for each row or for each token: cross-entropy.

    Args:
        label_smoothing: Share of the target's probability that is spread evenly over the classes,
            0 to 1.
        weights: Weight of each class; empty weighs all alike. The loss is divided by the number of
            labels, not by their weights: weights that are 1 in the mean over the training rows
            (`balanced`) leave its scale as it is.

    Raises:
        ConfigError: `label_smoothing` outside 0 to 1, or a weight that is no number above 0.

    Source:
        Szegedy et al., arXiv:1512.00567, section 7 (uniform prior).
    """

    def __init__(self, *, label_smoothing: float = 0.0, weights: Sequence[float] = ()) -> None:
        check_label_smoothing(label_smoothing)
        if any(not 0 < weight < math.inf for weight in weights):
            raise ConfigError(
                f"class weights {list(weights)} are not all numbers above 0. Leave out rows of a"
                " class that shall not be learned."
            )
        self.label_smoothing = label_smoothing
        self.weights = tuple(weights)

    def __call__(self, output: Any, labels: Int[Tensor, "*rows"]) -> Score:
        """Scores `output.logits`, (B, C) for labels (B,), or (B, T, C) for labels (B, T)."""
        logits = output.logits.float()
        flat, targets = logits.flatten(0, -2), labels.flatten()
        nats = F.cross_entropy(flat, targets, ignore_index=IGNORE, reduction="sum")
        loss = self._regularised(flat, targets) if self.label_smoothing or self.weights else nats
        return Score(loss, nats.detach(), labelled(labels).sum(), logits.detach())

    def soft(
        self, output: Any, said: Any, labels: Int[Tensor, "*rows"], temperature: float
    ) -> list[Tensor]:
        """Compares the distributions over the classes."""
        return _softened_sums(output.logits, said.logits, labelled(labels), temperature)

    def _regularised(self, logits: Float[Tensor, "N C"], labels: Int[Tensor, " N"]) -> Tensor:
        """Smooths the target, then weighs each row by its label's class."""
        there = labelled(labels)
        targets = labels.where(there, 0)
        log_p = logits.log_softmax(-1)  # N C
        own = -log_p.gather(-1, targets[:, None])[:, 0]
        uniform = -log_p.mean(-1)
        loss = (1 - self.label_smoothing) * own + self.label_smoothing * uniform  # N
        if self.weights:
            loss = loss * logits.new_tensor(self.weights)[targets]
        return loss.masked_fill(~there, 0).sum()


class ManyClasses(TaskLoss):
    """Any number of the classes at once: binary cross-entropy of each, C labels per row."""

    def __call__(self, output: Any, labels: Float[Tensor, "B C"]) -> Score:
        """Scores `output.logits`, (B, C), against zeros and ones; NaN is not labelled."""
        logits, there = output.logits.float(), labelled(labels)
        each = F.binary_cross_entropy_with_logits(
            logits, labels.where(there, 0).float(), reduction="none"
        )
        nats = each.masked_fill(~there, 0).sum()
        return Score(nats, nats.detach(), there.sum(), logits.detach())

    def soft(
        self, output: Any, said: Any, labels: Float[Tensor, "B C"], temperature: float
    ) -> list[Tensor]:
        """Compares the two probabilities of each class: that it is there, and that it is not."""
        ours, theirs = (torch.stack((o.logits, -o.logits), -1) / 2 for o in (output, said))  # B C 2
        return _softened_sums(ours, theirs, labelled(labels), temperature)


class Values(TaskLoss):
    """A number for each row: the squared error."""

    def __call__(self, output: Any, labels: Float[Tensor, " B"]) -> Score:
        """Scores `output.logits`, (B, 1); NaN is not labelled."""
        values, there = output.logits.float().squeeze(-1), labelled(labels)
        error = (values - labels.where(there, 0)).square().masked_fill(~there, 0).sum()
        return Score(error, error.detach(), there.sum(), values.detach())

    def soft(
        self, output: Any, said: Any, labels: Float[Tensor, " B"], temperature: float
    ) -> list[Tensor]:
        """Gives the squared distance to the teacher's value; there is no best guess to compare.

        Raises:
            ConfigError: There is a temperature, which a value does not have.
        """
        check_temperature(temperature)
        apart = (output.logits.float() - said.logits.float()).squeeze(-1)  # B
        return [apart.square().masked_fill(~labelled(labels), 0).sum()]


class Spans(TaskLoss):
    """Where an answer begins and ends in the tokens of a row: two classes among T, two labels."""

    def __call__(self, output: Any, labels: Int[Tensor, "B 2"]) -> Score:
        """Scores `output.start_logits` and `end_logits`, (B, T) each, against two positions."""
        logits = torch.stack((output.start_logits, output.end_logits), 1).float()  # B 2 T
        nats = F.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE, reduction="sum"
        )
        return Score(nats, nats.detach(), labelled(labels).sum(), logits.detach())

    def soft(
        self, output: Any, said: Any, labels: Int[Tensor, "B 2"], temperature: float
    ) -> list[Tensor]:
        """Compares the distributions over the tokens of a row, for either end of the answer."""
        ours, theirs = (torch.stack((o.start_logits, o.end_logits), 1) for o in (output, said))
        return _softened_sums(ours, theirs, labelled(labels), temperature)  # of B 2 T


def _softened_sums(
    student: Float[Tensor, "*rows C"],
    teacher: Float[Tensor, "*rows C"],
    there: Bool[Tensor, "*rows"],
    temperature: float,
) -> list[Tensor]:
    soft, _, _ = softened(student, teacher, temperature)
    same = (student.argmax(-1) == teacher.argmax(-1)) & there
    return [soft.masked_fill(~there, 0).sum(), same.sum()]


def check_temperature(temperature: float) -> None:
    """Raises ConfigError when a teacher's values shall be softened."""
    if temperature != 1:
        raise ConfigError(
            f"A value has no distribution that temperature={temperature:g} could soften. Set"
            " distiller.temperature to 1."
        )


def balanced(labels: Shaped[Any, " N"], n_classes: int) -> list[float]:
    """Weighs each class by how rare it is, 1 in the mean over the rows.

    Args:
        labels: The classes of the training rows, a NumPy array.
        n_classes: How many classes there are.

    Returns:
        n / (C · count of the class) for C classes that occur, as scikit-learn's `balanced`; 1 for
        one that does not.
    """
    counts = [int((labels == c).sum()) for c in range(n_classes)]
    n_seen = sum(count > 0 for count in counts)
    return [sum(counts) / (n_seen * count) if count else 1.0 for count in counts]
