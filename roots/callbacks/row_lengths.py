"""What a run tells of rows that get longer."""

from __future__ import annotations

from typing import Any

import lightning as L


class RowLengths(L.Callback):
    """Says when training rows get longer, and lets the median rate begin anew: work is another."""

    def __init__(self) -> None:
        self._length = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Says how long the first rows are, where they are not of full length."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self._length = data.seq_len
        self._look(trainer, data)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Looks how long the rows of the step are."""
        self._look(trainer, trainer.datamodule)  # type: ignore[attr-defined]

    def _look(self, trainer: Any, data: Any) -> None:
        length = data.length_at(trainer.global_step)
        if length == self._length:
            return
        self._length = length
        trainer.throughput.forget()
        cut = data.cuts_at(trainer.global_step)
        what = f"each sequence is cut into {cut:,}" if cut > 1 else "sequences are whole"
        trainer.say(f"rows of {length:,} tokens from step {trainer.global_step:,} on: {what}")
