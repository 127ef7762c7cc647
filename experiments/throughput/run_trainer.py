"""The Hugging Face Trainer, with the settings of the job and else its own defaults.

Settings: arguments of `TrainingArguments`, such as `torch_compile`.
"""

from __future__ import annotations

from typing import Any

import torch
from job import BETAS, CLIP_NORM, EPS, Job, Stopwatch, main
from torch import Tensor
from torch.utils.data import Dataset
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments


class Rows(Dataset):
    """The sequences in their order; transformers takes targets that are shifted already."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        labels = self.rows[index, 1:]
        return {"input_ids": self.rows[index, :-1], "labels": labels, "shift_labels": labels}


class Watch(TrainerCallback):
    """Stops the watch after every step."""

    def __init__(self, stopwatch: Stopwatch) -> None:
        self.stopwatch = stopwatch

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.stopwatch.step_done()


class KeepsLosses(Trainer):
    """The Trainer as it is, and a reference to each loss."""

    stopwatch: Stopwatch

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(*args, **kwargs)
        self.stopwatch.keep_loss(loss)
        return loss


def run(job: Job) -> None:
    """Trains with the Trainer."""
    network = AutoModelForCausalLM.from_pretrained(job.weights, dtype=torch.float32)
    stopwatch = Stopwatch(job)
    stopwatch.describe(network)
    trainer = KeepsLosses(
        model=network,
        args=arguments(job),
        train_dataset=Rows(job.rows),
        callbacks=[Watch(stopwatch)],
    )
    trainer.stopwatch = stopwatch
    trainer.train()
    stopwatch.write()


def arguments(job: Job) -> TrainingArguments:
    """Says what makes it the same work as everybody's; all else stays as it is by default."""
    return TrainingArguments(
        output_dir=job.scratch,
        max_steps=job.total_steps,
        per_device_train_batch_size=job.micro_batch_size,
        gradient_accumulation_steps=job.micro_batches,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,  # shift_labels
        bf16=job.precision == "bf16-mixed",
        use_cpu=job.device == "cpu",
        learning_rate=job.learning_rate,
        lr_scheduler_type="constant",
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        adam_epsilon=EPS,
        max_grad_norm=CLIP_NORM,
        save_strategy="no",
        report_to="none",
        **job.settings,
    )


if __name__ == "__main__":
    main(run)
