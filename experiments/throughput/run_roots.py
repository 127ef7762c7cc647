"""roots, by its own way in: `roots.compose(...)`, its Trainer, Lightning's loop, its callbacks.

Left out is what comes after the last step: there is no text for validation, and no checkpoint.
Settings: `attention` goes to the network, `trainer` to the trainer, all else to `CausalLM`.
"""

from __future__ import annotations

from typing import Any

import lightning as L
from job import BETAS, CLIP_NORM, EPS, Job, Stopwatch, main

import roots
from roots.callbacks import Checkpoints


class Watch(L.Callback):
    """Stops the watch after every step, behind all other callbacks."""

    def __init__(self, stopwatch: Stopwatch) -> None:
        self.stopwatch = stopwatch

    def on_train_batch_end(self, _: L.Trainer, pl_module: Any, *__: Any, **___: Any) -> None:
        self.stopwatch.keep_loss(pl_module.last_step.loss)
        self.stopwatch.step_done()


def run(job: Job) -> None:
    """Trains with roots."""
    composed = roots.compose(run_file(job))
    stopwatch = Stopwatch(job)
    callbacks = [c for c in composed.trainer.callbacks if not isinstance(c, Checkpoints)]
    composed.trainer.callbacks = [*callbacks, Watch(stopwatch)]
    composed.fit()
    stopwatch.describe(composed.model.trainable.network)
    stopwatch.write()


def run_file(job: Job) -> dict[str, Any]:
    """Writes the job as a run file of roots."""
    settings = dict(job.settings)
    network = {"path": job.weights, "attention": settings.pop("attention", "auto")}
    trainer = settings.pop("trainer", {})
    optimizer = {
        "learning_rate": job.learning_rate,
        "weight_decay": 0.0,
        "beta1": BETAS[0],
        "beta2": BETAS[1],
        "eps": EPS,
    }
    model = {
        "network": {"class_path": "roots.networks.Pretrained", "init_args": network},
        "optimizer": {"class_path": "roots.optim.AdamW", "init_args": optimizer},
        "schedule": {"class_path": "roots.optim.Constant"},
        "micro_batch_size": job.micro_batch_size,
        "clip_norm": CLIP_NORM,
        **settings,
    }
    data = {
        "shards": job.shards,
        "seq_len": job.seq_len,
        "sequences_per_step": job.sequences_per_step,
        "val_fraction": 0.0,
    }
    return {
        "name": "throughput",
        "seed": 1,
        "model": {"class_path": "roots.modules.CausalLM", "init_args": model},
        "data": {"class_path": "roots.data.TokenCorpus", "init_args": data},
        "trainer": {
            "max_steps": job.total_steps,
            "precision": job.precision,
            "accelerator": "gpu" if job.device == "cuda" else "cpu",
            "devices": 1,
            "runs_dir": job.scratch,
            **trainer,
        },
    }


if __name__ == "__main__":
    main(run)
