"""Callbacks for run files: what each rank of a trial was given, and a rank that dies."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import lightning as L


class RankWitness(L.Callback):
    """Writes the settings of this rank into a file of its own.

    Args:
        folder: Where.
    """

    def __init__(self, *, folder: str) -> None:
        self.folder = folder

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Says rank, ranks, and what was given."""
        ours: Any = trainer
        module: Any = pl_module
        told = {
            "rank": trainer.global_rank,
            "ranks": trainer.world_size,
            "rate": module.optimizer_builder.learning_rate,
            "rows": ours.datamodule.sequences_per_step,
        }
        file = Path(self.folder) / f"{ours.run.path.name}-rank-{trainer.global_rank}.json"
        file.write_text(json.dumps(told))


class RankDies(L.Callback):
    """Kills a rank of a run after a step, once.

    Args:
        name: The run's.
        rank: Which.
        step: After which step.
    """

    def __init__(self, *, name: str, rank: int, step: int) -> None:
        self.name = name
        self.rank = rank
        self.step = step

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any, **__: Any) -> None:
        """Dies of SIGKILL, where it is time and was not yet."""
        ours: Any = trainer
        here = (ours.name, trainer.global_rank, trainer.global_step)
        mark = ours.run.path / "killed"
        if here == (self.name, self.rank, self.step) and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
