"""Steps whose loss jumps."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from roots.callbacks.stability import CURES, StepRule, check_action, last_good, whence
from roots.errors import ConfigError, TrainingError

COUNT = "optim/loss_spikes"


class LossSpikes(StepRule):
    """Counts steps whose loss is far above that of the steps before, and skips them or stops.

    A step is a spike when its loss is more than `threshold` standard deviations above the mean of
    the `window` steps before it. A spike enters the window too: where the loss stays high, it is
    soon the new normal. Loss and decision are those of all ranks. A skipped step changes neither
    weights nor the optimizer's state; it counts, and the schedule goes on.

    Args:
        threshold: Standard deviations above the mean, above 0.
        window: Steps that the mean is of; until there are so many, nothing is a spike. At least 2.
        action: `skip`, `stop`, or `count` to do nothing but log `optim/loss_spikes`. On devices
            other than a CPU `stop` acts with the next logged step.

    Raises:
        ConfigError: A threshold or window that is too small, or no such action.

    Source:
        The rule of OLMo 2 (arXiv:2501.00656), there with 6 deviations over 128 steps.
    """

    def __init__(self, *, threshold: float = 6.0, window: int = 128, action: str = "skip") -> None:
        check_action(action, ("skip", "stop", "count"), "the action of roots.callbacks.LossSpikes")
        if not threshold > 0:
            raise ConfigError(
                f"threshold={threshold:g} would make every other step a spike. Set it above 0; 6 is"
                " usual."
            )
        if window < 2:
            raise ConfigError(
                f"window={window} has no standard deviation. Set it to 2 or more; 128 is usual."
            )
        self.threshold = threshold
        self.window = window
        self.action = action
        self._losses = torch.full((window,), float("nan"))
        self._count = torch.tensor(0, dtype=torch.int32)
        self._seen = 0  # steps
        self._stopped_for = 0  # spikes that were there before

    def judge(self, loss: Tensor, grad_norm: Tensor) -> Tensor | None:
        """Compares a step's loss with those before it, then takes it among them."""
        if self._losses.device != loss.device:  # with the first step
            self._losses, self._count = self._losses.to(loss.device), self._count.to(loss.device)
        spike = is_spike(loss, self._losses, self.threshold)
        self._count = self._count + spike
        slot = self._losses[self._seen % self.window]
        slot.copy_(torch.where(loss.isfinite(), loss, slot))
        self._seen += 1
        return spike if self.action == "skip" else None

    def counts(self) -> dict[str, Tensor]:
        """Gives the spikes so far."""
        return {COUNT: self._count}

    def check(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Raises TrainingError after a spike, when it is to."""
        report: Any = pl_module.last_step
        spikes = int(report.numbers.others[COUNT])
        if self.action == "stop" and spikes > self._stopped_for:
            raise TrainingError(
                f"The loss jumped: it is {report.numbers.loss:g} in step {report.step + 1:,}, and"
                f" {spikes - self._stopped_for} of the steps since the last look were more than"
                f" {self.threshold:g} standard deviations above the mean of the {self.window:,}"
                f" before. {whence(trainer, report)} {last_good(trainer)} {CURES}"
            )

    def state_dict(self) -> dict[str, Any]:
        """Gives window and count as plain numbers."""
        losses = self._losses.tolist()
        return {"losses": losses, "seen": self._seen, "spikes": int(self._count)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with a saved window, when it has this one's length."""
        if len(state_dict["losses"]) == self.window:
            self._losses = torch.tensor(state_dict["losses"], dtype=torch.float32)
            self._seen = state_dict["seen"]
        self._count = torch.tensor(state_dict["spikes"], dtype=torch.int32)
        self._stopped_for = state_dict["spikes"]


def is_spike(loss: Tensor, before: Tensor, threshold: float) -> Tensor:
    """Tells whether a loss is more than `threshold` deviations above the mean of those before.

    Args:
        loss: 0-d; one that is not finite is no spike but a matter of its own.
        before: The losses before, 1-d; NaN where there was none yet, and then nothing is a spike.
        threshold: Standard deviations, of the sample (divided by n - 1).
    """
    return loss.isfinite() & (loss > before.mean() + threshold * before.std())
