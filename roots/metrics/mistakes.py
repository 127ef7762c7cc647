"""The wrong predictions that a network was surest of."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from roots.batch import IGNORE
from roots.errors import ConfigError
from roots.metrics.summed import SummedMetric


class Mistakes(SummedMetric):
    """Keeps the wrong predictions of the highest probability, so that a person can look at them.

    Values: none. Details: `mistakes`, the surest first, each with `sample` (the row's number),
    `place` (the token's, 0 where rows have one label), `label` and `predicted` (class numbers) and
    `confidence` (the probability of what was predicted).

    Args:
        n: How many are kept.

    Raises:
        ConfigError: `n` is not positive.
    """

    confidence: Tensor
    about: Tensor

    def __init__(self, *, n: int = 20) -> None:
        super().__init__()
        if n < 1:
            raise ConfigError(f"n={n} keeps no mistakes. Set it to 1 or more; 20 is the default.")
        self.n = n
        none = torch.full((n,), -1.0, dtype=torch.float64)
        self.add_state("confidence", none, dist_reduce_fx="cat")  # K, -1: none
        nothing = torch.full((n, 4), -1)
        self.add_state("about", nothing, dist_reduce_fx="cat")  # K 4: sample place label predicted

    def update(
        self,
        logits: Float[Tensor, "B ... C"],
        labels: Int[Tensor, "B ..."],
        samples: Int[Tensor, " B"],
        keep: Bool[Tensor, "B ..."] | None = None,
    ) -> None:
        """Adds rows.

        Args:
            logits: Scores of the classes before the softmax; per row, or per token of it.
            labels: Class numbers; `IGNORE` (-100) counts for nothing.
            samples: The number of each row.
            keep: False for what counts for nothing.
        """
        confidence, predicted = logits.to(self.exact).softmax(-1).max(-1)  # B T
        kept = labels != IGNORE if keep is None else (labels != IGNORE) & keep
        nothing_said = confidence.isnan()  # topk would take it for the surest of all
        confidence = confidence.masked_fill((predicted == labels) | ~kept | nothing_said, -1.0)
        about = torch.stack(
            [
                _spread(samples.to(labels.device), labels),
                _spread(torch.arange(labels[0].numel(), device=labels.device), labels, last=True),
                labels,
                predicted,
            ],
            dim=-1,
        )
        self._take(confidence.flatten(), about.flatten(0, -2))

    def _take(self, confidence: Tensor, about: Tensor) -> None:
        """Keeps the surest of those before and these."""
        surest = torch.cat([self.confidence, confidence])
        all_of = torch.cat([self.about, about.to(self.about)])
        self.confidence, which = surest.topk(self.n)
        self.about = all_of[which]

    def _values(self) -> dict[str, float]:
        return {}

    def _details(self) -> dict[str, Any]:
        names = ("sample", "place", "label", "predicted")
        # of several ranks, a row of each stands in the states
        confidence, about = self.confidence.flatten().tolist(), self.about.flatten(0, -2).tolist()
        found = [
            {**dict(zip(names, numbers, strict=True)), "confidence": sure}
            for sure, numbers in zip(confidence, about, strict=True)
            if sure >= 0
        ]
        found.sort(key=lambda each: (-each["confidence"], each["sample"], each["place"]))
        return {"mistakes": found[: self.n]}


def _spread(numbers: Tensor, labels: Tensor, *, last: bool = False) -> Tensor:
    """Writes the number of each row, or of each place in it, in the shape of the labels."""
    rows = numbers[None] if last else numbers[:, None]
    return rows.expand(len(labels), labels[0].numel()).reshape(labels.shape)
