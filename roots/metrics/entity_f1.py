"""Named entities: whole spans found, not tokens."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from roots.batch import IGNORE
from roots.errors import DataError, nearest
from roots.metrics.entities import OUTSIDE, check_scheme, entities_of, split_tag
from roots.metrics.precision_recall import macro, micro, per_class
from roots.metrics.summed import SummedMetric, logged_names


class EntityF1(SummedMetric):
    """Measures entities: one is found when its first token, its last and its type are right.

    Values: `precision_micro`, `recall_micro`, `f1_micro` (what is called entity-level F1), the same
    `_macro` over the types, `precision/TYPE`, `recall/TYPE`, `f1/TYPE`, and `accuracy`, of the
    tokens.

    Args:
        names: Names of the tags in the order of their numbers: `O`, and `B-PER` and the like.
        scheme: What an entity is: `conll` (lenient, seqeval's default), `iob2` or `iobes` (strict).

    Raises:
        ConfigError: A name that is no tag of the scheme, only `O`, or types logged under one name.

    Source:
        seqeval 1.2.2, whose figures these are, in its default mode and in mode strict.
    """

    entities: Tensor
    tokens: Tensor

    def __init__(self, *, names: Sequence[str], scheme: str = "conll") -> None:
        super().__init__()
        check_scheme(scheme)
        self.names = list(names)
        self.scheme = scheme
        tags = [split_tag(name, scheme) for name in names]
        self.types = sorted({tag.type for tag in tags if tag.place != OUTSIDE})
        self.logged_types = logged_names(self.types, of="entity types")
        empty = torch.zeros(3, len(self.types), dtype=torch.long)
        self.add_state("entities", empty, dist_reduce_fx="sum")  # hits, predicted, labelled
        empty = torch.zeros(2, dtype=torch.long)
        self.add_state("tokens", empty, dist_reduce_fx="sum")  # right, all

    def update(
        self,
        predictions: Float[Tensor, "B T C"] | Int[Tensor, "B T"] | Sequence[Sequence[str]],
        labels: Int[Tensor, "B T"] | Sequence[Sequence[str]],
    ) -> None:
        """Adds sequences.

        Args:
            predictions: Scores of the tags, of which the greatest counts, or tag numbers; or the
                tags themselves, a list per sequence.
            labels: Tag numbers, where positions of `IGNORE` (-100) are taken out of the sequence;
                or tags.

        Raises:
            DataError: An unknown tag, or sequences that do not match in number or length.
        """
        if isinstance(predictions, Tensor) and isinstance(labels, Tensor):
            predictions, labels = self._as_tags(predictions, labels)
        assert not isinstance(predictions, Tensor)
        assert not isinstance(labels, Tensor)
        self._check(predictions, labels)
        counts = [Counter[str]() for _ in range(3)]  # hits, predicted, labelled
        for predicted, labelled in zip(predictions, labels, strict=True):
            found, true = (entities_of(tags, self.scheme) for tags in (predicted, labelled))
            for count, entities in zip(counts, (found & true, found, true), strict=True):
                count.update(entity.type for entity in entities)
        self._add(counts, _right_tokens(predictions, labels))

    def _add(self, counts: list[Counter[str]], tokens: list[int]) -> None:
        by_type = [[count[name] for name in self.types] for count in counts]
        self.entities += torch.tensor(by_type, device=self.device)
        self.tokens += torch.tensor(tokens, device=self.device)

    def _check(self, predictions: Sequence[Sequence[str]], labels: Sequence[Sequence[str]]) -> None:
        _check_lengths(predictions, labels)
        unknown = {tag for tags in (*predictions, *labels) for tag in tags} - set(self.names)
        for tag in sorted(unknown):
            raise DataError(
                f"There is no tag {tag!r}{nearest(tag, self.names)}."
                f" Give the metric the names of all tags; it knows {', '.join(self.names)}."
            )

    def _as_tags(self, predictions: Tensor, labels: Tensor) -> tuple[list[list[str]], ...]:
        numbers = predictions.argmax(-1) if predictions.is_floating_point() else predictions
        both = torch.stack([numbers, labels]).cpu()  # 2 B T
        both[0].masked_fill_(both[1] == IGNORE, IGNORE)
        outside = (both != IGNORE) & ((both < 0) | (both >= len(self.names)))
        if outside.any():
            raise DataError(
                f"A tag is number {int(both[outside][0])}, and the {len(self.names)} tags are 0 to"
                f" {len(self.names) - 1}. Give the names of all tags, and -100 to positions that"
                " should not count."
            )
        return tuple(
            [[self.names[n] for n in row if n != IGNORE] for row in rows] for rows in both.tolist()
        )

    def _values(self) -> dict[str, float]:
        counts = self.entities.cpu()
        right, n_tokens = self.tokens.tolist()
        accuracy = {"accuracy": right / n_tokens if n_tokens else math.nan}
        return micro(counts) | macro(counts) | accuracy | per_class(counts, self.logged_types)


def _check_lengths(predictions: Sequence[Sequence[str]], labels: Sequence[Sequence[str]]) -> None:
    if len(predictions) != len(labels):
        raise DataError(
            f"{len(predictions)} predicted sequences cannot be compared with {len(labels)} labelled"
            " ones. Give one prediction for each."
        )
    for number, (predicted, labelled) in enumerate(zip(predictions, labels, strict=True)):
        if len(predicted) != len(labelled):
            raise DataError(
                f"Sequence {number} has {len(predicted)} predicted and {len(labelled)} labelled"
                " tags. Give one predicted tag for each labelled one."
            )


def _right_tokens(
    predictions: Sequence[Sequence[str]], labels: Sequence[Sequence[str]]
) -> list[int]:
    """How many tags are right, and how many there are."""
    right = sum(
        a == b for pair in zip(predictions, labels, strict=True) for a, b in zip(*pair, strict=True)
    )
    return [right, sum(map(len, labels))]
