"""The micro-batch that needs the most memory: every row as long as rows can be."""

from __future__ import annotations

import math
from typing import Any

import torch

from roots.batch import (
    MaskedBatch,
    PairBatch,
    PreferenceBatch,
    StepBatch,
    TaskBatch,
    TokenBatch,
)
from roots.modules import (
    MaskedLM,
    PreferenceLM,
    QuestionAnswering,
    Seq2Seq,
    SequenceClassifier,
    TaskModule,
    TokenClassifier,
)


class _FullRows(MaskedBatch):
    """Rows that are all of full length, which the host knows without looking."""

    @property
    def is_filled_up(self) -> bool:
        """Whether a row is shorter than the batch is wide."""
        return False


def widest_batch(model: Any, data: Any, rows: int) -> StepBatch:
    """Makes a micro-batch of rows of full length, without content.

    Rows of different lengths are planned as if the longest came together, which they do where rows
    of like lengths are put together. Where shorter rows of the same text have more tokens, because
    each has special ones of its own, so many more rows are planned.

    Args:
        model: Says what is learned.
        data: Says how long a row is at most, and how its documents are kept apart.
        rows: Rows of the micro-batch.
    """
    most = max(data.read_per_token(length) for length in data.lengths)
    samples = torch.arange(math.ceil(rows * most))
    if isinstance(model, TaskModule | Seq2Seq):
        return _of_task(model, data, samples)
    if isinstance(model, PreferenceLM):
        return _of_pairs(data, samples)
    tokens = torch.zeros((len(samples), data.seq_len), dtype=torch.long)
    shared: dict[str, Any] = {
        "samples": samples,
        "step": 0,
        "input_ids": tokens,
        "labels": tokens,
        "n_bytes": torch.zeros(len(samples), dtype=torch.long),
        "document_ids": tokens if data.packed_by else None,
    }
    if not isinstance(model, MaskedLM):
        return TokenBatch(**shared)
    n_hidden = math.ceil(data.seq_len * data.labelled_fraction)
    return _FullRows(
        places=torch.zeros((len(samples), n_hidden), dtype=torch.long),
        lengths=torch.full((len(samples),), data.seq_len),
        **shared,
    )


def _of_task(model: Any, data: Any, samples: Any) -> StepBatch:
    size = (len(samples), data.seq_len)
    tokens = torch.zeros(size, dtype=torch.long)
    inputs = {"input_ids": tokens, "token_type_ids": tokens, "attention_mask": tokens}
    lengths = torch.full((size[0],), size[1])
    shared: dict[str, Any] = {"samples": samples, "step": 0, "lengths": lengths}
    if isinstance(model, Seq2Seq):
        del inputs["token_type_ids"]
        return PairBatch(inputs=inputs, labels=tokens, target_lengths=lengths, **shared)
    if isinstance(model, TokenClassifier):
        return TaskBatch(inputs=inputs, labels=tokens, per_token=True, **shared)
    labels = _labels_of_rows(model, samples)
    return TaskBatch(inputs=inputs, labels=labels, **shared)


def _of_pairs(data: Any, samples: Any) -> StepBatch:
    tokens = torch.zeros((len(samples), 2, data.seq_len), dtype=torch.long)
    lengths = torch.full((len(samples),), data.seq_len)
    return PreferenceBatch(tokens=tokens, labels=tokens, lengths=lengths, samples=samples, step=0)


def _labels_of_rows(model: Any, samples: Any) -> torch.Tensor:
    if isinstance(model, QuestionAnswering):
        return torch.zeros((len(samples), 2), dtype=torch.long)
    assert isinstance(model, SequenceClassifier)
    kind, n_classes = model.labels.kind, len(model.labels.names)
    if kind == "one":
        return torch.zeros_like(samples)
    return torch.zeros((len(samples), n_classes) if kind == "many" else len(samples))
