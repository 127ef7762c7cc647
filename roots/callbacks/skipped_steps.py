"""Steps that are left out: who decides, and how many there were."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from roots.callbacks.stability import CURES, StepRule, last_good, whence
from roots.errors import TrainingError

MOST_IN_A_ROW = 25
"""A float16 loss scale that began at 65,536 is 0.002 by then: no scale will help."""
TOTAL, IN_A_ROW = "optim/steps_skipped", "optim/steps_skipped_in_a_row"


class SkippedSteps(StepRule):
    """Asks the rules of a run, counts what they leave out, and ends a run of nothing else.

    The counts are in the checkpoint, and logged where a rule can leave steps out.
    """

    def __init__(self) -> None:
        self._rules: list[StepRule] = []
        self._counts = torch.zeros(2, dtype=torch.int32)  # in all, in a row
        self._told = 0
        self._any_can_skip = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Finds the rules."""
        callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        self._rules = [c for c in callbacks if isinstance(c, StepRule) and c is not self]

    def judge(self, loss: Tensor, grad_norm: Tensor) -> Tensor | None:
        """Leaves a step out where any rule does."""
        verdicts = [rule.judge(loss, grad_norm) for rule in self._rules]
        asked = [verdict for verdict in verdicts if verdict is not None]
        self._any_can_skip = bool(asked)
        if not asked:
            return None
        skip = torch.stack(asked).any()
        counts = self._counts.to(skip.device)  # it is there, but for the first step
        total, in_a_row = counts.unbind()
        self._counts = torch.stack([total + skip, (in_a_row + 1) * skip])
        return skip

    def counts(self) -> dict[str, Tensor]:
        """Gives what all rules count."""
        counts = dict(zip((TOTAL, IN_A_ROW), self._counts.unbind(), strict=True))
        counts = counts if self._any_can_skip else {}
        for rule in self._rules:
            counts.update(rule.counts())
        return counts

    def check(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Says how many steps were left out since the last look; raises after too many in a row."""
        ours: Any = trainer
        report: Any = pl_module.last_step
        others: dict[str, float] = report.numbers.others
        total, in_a_row = int(others.get(TOTAL, 0)), int(others.get(IN_A_ROW, 0))
        if in_a_row >= MOST_IN_A_ROW:
            numbers = report.numbers
            raise TrainingError(
                f"The last {in_a_row} steps were all left out, step {report.step + 1:,} for one,"
                f" with loss {numbers.loss:g} and gradient norm {numbers.grad_norm:g}: the run is"
                f" stopped. {whence(trainer, report)} {last_good(trainer)} {CURES}"
            )
        if total > self._told:
            scale = others.get("optim/loss_scale")
            at = f", at a loss scale of {scale:,g}" if scale is not None else ""
            ours.say(
                f"left out {total - self._told} of the steps up to {report.step + 1:,}{at}"
                f" ({total} in all)"
            )
        self._told = total

    def state_dict(self) -> dict[str, Any]:
        """Gives the counts as plain numbers."""
        total, in_a_row = self._counts.tolist()
        return {"total": total, "in_a_row": in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with saved counts."""
        self._told = state_dict["total"]
        self._counts = torch.tensor([self._told, state_dict["in_a_row"]], dtype=torch.int32)
