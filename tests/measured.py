"""Predictions that the tests of the metrics share: for each metric, thirty rows to measure."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from roots.batch import IGNORE
from roots.metrics import (
    Calibration,
    Classification,
    EntityF1,
    GeneratedText,
    Mistakes,
    MultiLabel,
    Regression,
    Residuals,
    SquadScore,
    SummedMetric,
)

N_ROWS = 30
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog"]


class Measured(NamedTuple):
    """A metric and the rows to give to its `update`, one sequence or tensor per argument."""

    make: Callable[[], SummedMetric]
    rows: tuple[Any, ...]

    def part(self, start: int, end: int) -> tuple[Any, ...]:
        """Cuts some of the rows out."""
        return tuple(argument[start:end] for argument in self.rows)


def measured() -> dict[str, Measured]:
    """Makes the rows, the same in every call."""
    generator = torch.Generator().manual_seed(5)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(N_ROWS, *shape, generator=generator, dtype=torch.float64)

    def whole(end: int, *shape: int) -> torch.Tensor:
        return torch.randint(end, (N_ROWS, *shape), generator=generator)

    labels = whole(4)
    labels[::7] = IGNORE
    tags = whole(5, 9)
    tags[:, ::4] = IGNORE
    keep = whole(5) > 0
    names = ["World", "Sports", "Business", "Sci/Tech"]
    return {
        "Classification": Measured(lambda: Classification(names=names), (normal(4), labels, keep)),
        "MultiLabel": Measured(
            lambda: MultiLabel(names=["a", "b", "c"], threshold=0.4), (normal(3), whole(2, 3), keep)
        ),
        "Regression": Measured(Regression, (normal().round(decimals=1), normal(), keep)),
        "Calibration": Measured(lambda: Calibration(n_bins=7), (normal(4), labels, keep)),
        "EntityF1": Measured(lambda: EntityF1(names=TAGS), (whole(5, 9), tags)),
        "SquadScore": Measured(lambda: SquadScore(threshold=0.8), questions()),
        "GeneratedText": Measured(GeneratedText, texts()),
        "Mistakes": Measured(lambda: Mistakes(n=6), (normal(4), labels, torch.arange(N_ROWS))),
        "Residuals": Measured(
            lambda: Residuals(n=6), (normal(), normal(), torch.arange(N_ROWS), keep)
        ),
    }


def questions() -> tuple[list[str], list[list[str]], list[float]]:
    """Answers of one to four words, of which a third of the questions has none."""
    rng = random.Random(3)

    def answer() -> str:
        return " ".join(rng.sample(WORDS, rng.randint(1, 4)))

    answers = [[answer() for _ in range(rng.randint(0, 2))] for _ in range(N_ROWS)]
    predictions = [rng.choice(["", answer(), *right]) for right in answers]
    return predictions, answers, [rng.random() for _ in range(N_ROWS)]


def texts() -> tuple[list[str], list[list[str]]]:
    """Sentences of four to nine words with one to three references each."""
    rng = random.Random(4)

    def changed(words: list[str]) -> str:
        return " ".join(w for w in words if rng.random() < 0.8) + rng.choice([".", ""])

    predictions, references = [], []
    for _ in range(N_ROWS):
        words = rng.choices(WORDS, k=rng.randint(4, 9))
        predictions.append(changed(words))
        references.append([changed(words) for _ in range(rng.randint(1, 3))])
    return predictions, references


def same_values(one: dict[str, float], other: dict[str, float]) -> bool:
    """Whether two metrics say the same; sums of floats in another order may differ by 1e-12."""
    return one.keys() == other.keys() and all(
        math.isclose(value, other[name], rel_tol=1e-12, abs_tol=1e-14)
        or (math.isnan(value) and math.isnan(other[name]))
        for name, value in one.items()
    )
