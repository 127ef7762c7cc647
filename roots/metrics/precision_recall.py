"""Precision, recall and F1 from counts."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor

QUANTITIES = ("precision", "recall", "f1")


def precision_recall_f1(
    hits: Int[Tensor, " C"], predicted: Int[Tensor, " C"], labelled: Int[Tensor, " C"]
) -> Float[Tensor, "3 C"]:
    """Precision, recall and F1 of each class.

    Args:
        hits: How often the class was predicted where it is the label.
        predicted: How often it was predicted.
        labelled: How often it is the label.

    Returns:
        float64 on the host; 0 where only one denominator is 0, nan where the class does not occur.
    """
    hits, predicted, labelled = (t.cpu().double() for t in (hits, predicted, labelled))
    rates = torch.stack(
        [
            hits / predicted.clamp(min=1),
            hits / labelled.clamp(min=1),
            2 * hits / (predicted + labelled).clamp(min=1),
        ]
    )
    return rates.masked_fill(predicted + labelled == 0, torch.nan)


def micro(counts: Int[Tensor, "3 C"]) -> dict[str, float]:
    """Names the rates of the counts (hits, predicted, labelled) summed over the classes."""
    return _named(precision_recall_f1(*counts.sum(-1, keepdim=True)), "_micro")


def macro(counts: Int[Tensor, "3 C"]) -> dict[str, float]:
    """Names the means of the rates over the classes that occur."""
    return _named(precision_recall_f1(*counts).nanmean(-1, keepdim=True), "_macro")


def per_class(counts: Int[Tensor, "3 C"], names: Iterable[str]) -> dict[str, float]:
    """Names the rates of each class."""
    rates = precision_recall_f1(*counts)
    return {
        f"{quantity}/{name}": float(rates[row, column])
        for column, name in enumerate(names)
        for row, quantity in enumerate(QUANTITIES)
    }


def _named(rates: Float[Tensor, "3 1"], suffix: str) -> dict[str, float]:
    return {f"{name}{suffix}": float(rate) for name, rate in zip(QUANTITIES, rates, strict=True)}
