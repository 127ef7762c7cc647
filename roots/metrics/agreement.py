"""How near a student's predictions are to its teacher's."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from roots.metrics.summed import SummedMetric


class Agreement(SummedMetric):
    """Compares two networks' predictions of the same rows.

    Values: `teacher_agreement`, the share of rows where both give the same class the most; and
    `teacher_kl`, the mean divergence KL(teacher ‖ student) in nats per row.
    """

    rows: Tensor
    nats: Tensor

    def __init__(self) -> None:
        super().__init__()
        empty = torch.zeros(2, dtype=torch.long)
        self.add_state("rows", empty, dist_reduce_fx="sum")  # same class, all
        self.add_state("nats", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self,
        student: Float[Tensor, "*rows C"],
        teacher: Float[Tensor, "*rows C"],
        keep: Bool[Tensor, "*rows"] | None = None,
    ) -> None:
        """Adds rows.

        Args:
            student: The student's logits.
            teacher: The teacher's logits.
            keep: False for rows that count for nothing.
        """
        if keep is None:
            keep = torch.ones(student.shape[:-1], dtype=torch.bool, device=student.device)
        same = torch.eq(student.argmax(-1), teacher.argmax(-1)) & keep
        self.rows += torch.stack([same.sum(), keep.sum()])
        self.nats += divergence(teacher, student).to(self.exact).masked_fill(~keep, 0).sum()

    def _values(self) -> dict[str, float]:
        same, n_rows = self.rows.tolist()
        if not n_rows:
            return {"teacher_agreement": math.nan, "teacher_kl": math.nan}
        return {"teacher_agreement": same / n_rows, "teacher_kl": float(self.nats) / n_rows}


def divergence(
    true: Float[Tensor, "*rows C"], other: Float[Tensor, "*rows C"]
) -> Float[Tensor, "*rows"]:
    """KL(true ‖ other) of each row of logits, in nats; a class that `true` rules out adds nothing.

    float64 logits are compared in float64, all others in float32.
    """
    log_true, log_other = (
        t.log_softmax(-1, dtype=torch.promote_types(t.dtype, torch.float32)) for t in (true, other)
    )
    terms = log_true.exp() * (log_true - log_other)
    return terms.masked_fill(torch.isneginf(log_true), 0).sum(-1).clamp(min=0)
