"""How far predicted numbers are from the labels, for pictures."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from roots.errors import ConfigError
from roots.metrics.regression import correlation, ranks
from roots.metrics.summed import SummedMetric

N_BINS = 30


class Residuals(SummedMetric):
    """Keeps what was predicted for each row, so that a person can look at it.

    Values: none. Details: `numbers`, with `rows` (how many there are), `pearson` and `spearman`,
    `label` and `predicted` (of `n_points` rows at most, evenly over their numbers), `mean` and
    `deviation` of what was predicted minus the label, how these spread (`edges`, `count`), and
    `largest`: the rows with the largest errors, each with `sample`, `label` and `predicted`.

    Args:
        n: How many of the largest errors are kept.
        n_points: How many pairs are kept to be drawn.

    Raises:
        ConfigError: One of them is not positive.
    """

    triples: list[Tensor] | Tensor

    def __init__(self, *, n: int = 20, n_points: int = 2000) -> None:
        super().__init__()
        if n < 1 or n_points < 1:
            raise ConfigError(f"n={n} and n_points={n_points}: set both to 1 or more.")
        self.n = n
        self.n_points = n_points
        self.add_state("triples", [], dist_reduce_fx="cat")  # sample, label, prediction

    def update(
        self,
        predictions: Float[Tensor, " N"],
        labels: Float[Tensor, " N"],
        samples: Int[Tensor, " N"],
        keep: Bool[Tensor, " N"] | None = None,
    ) -> None:
        """Adds rows; those where `keep` is False count for nothing."""
        columns = (samples.to(labels.device), labels, predictions)
        triples = torch.stack([column.to(self.exact) for column in columns], dim=-1)  # N 3
        assert isinstance(self.triples, list)
        self.triples.append(triples if keep is None else triples[keep])

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gathers the rows of all ranks; one without rows gives none, in the others' type."""
        if not self.triples:
            self.triples = [torch.zeros(0, 3, dtype=self.exact, device=self.device)]
        super().sync(*args, **kwargs)

    def _values(self) -> dict[str, float]:
        return {}

    def _details(self) -> dict[str, Any]:
        triples = self.triples if isinstance(self.triples, Tensor) else torch.cat(self.triples)
        triples = triples.cpu().double()
        triples = triples[triples.isfinite().all(-1)]
        if not len(triples):
            return {}
        samples, labels, predictions = triples[triples[:, 0].argsort(stable=True)].unbind(-1)
        errors = predictions - labels
        shown = slice(None, None, -(-len(errors) // self.n_points))
        count, edges = torch.histogram(errors, N_BINS)
        largest = errors.abs().argsort(descending=True, stable=True)[: self.n]
        rows = zip(*(c[largest].tolist() for c in (samples, labels, predictions)), strict=True)
        return {
            "numbers": {
                "rows": len(errors),
                "pearson": _or_none(correlation(predictions, labels)),
                "spearman": _or_none(correlation(ranks(predictions), ranks(labels))),
                "label": labels[shown].tolist(),
                "predicted": predictions[shown].tolist(),
                "mean": float(errors.mean()),
                "deviation": float(errors.std(correction=0)),
                "edges": edges.tolist(),
                "count": [int(n) for n in count.tolist()],
                "largest": [
                    {"sample": int(sample), "label": label, "predicted": predicted}
                    for sample, label, predicted in rows
                ],
            }
        }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
