"""What a module or callback logs by `self.log`, under the number of done steps like all else."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.trainer.connectors.logger_connector.logger_connector import _LoggerConnector


class StepLogs(_LoggerConnector):
    """Lightning's way to the loggers, whose steps are one behind in a step, and others elsewhere.

    A step's numbers go there after every `log_every_steps` steps, those of a validation at its
    end, and beside none of them is an epoch: a run has one endless one.
    """

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Hands metrics on; a metric named `step` says which step it is, as Lightning has it."""
        if step is None and "step" not in metrics:
            step = self.trainer.global_step
        super().log_metrics(metrics, step=step)

    def update_eval_step_metrics(self, step: int) -> None:  # noqa: ARG002
        """Hands on what is logged of each batch of a validation: it is no step of its own."""
        self.log_metrics(self.metrics["log"])
