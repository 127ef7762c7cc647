"""When checkpoints are written, what is in them, and which stay."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint as CheckpointBase
from torch import Tensor

from roots.callbacks.failed_saves import Saving, check_on_failed_save
from roots.callbacks.weight_average import weights_to_use
from roots.errors import ConfigError
from roots.inference import write_folder
from roots.runs import (
    CHECKPOINT_FILE,
    TRAINER_FILE,
    Checkpoint,
    file_sums,
    replace_folder,
    written_files,
)


class Checkpoints(CheckpointBase):
    """Keeps the newest checkpoint and the best ones.

    A checkpoint is a folder: the trainer's state to resume from, and beside it a Hugging Face
    folder to use. It is written under a temporary name and renamed when it is whole.

    Args:
        every_steps: Optimizer steps between checkpoints; 0 writes one with each validation.
        keep_best: How many to keep of the best, beside the newest.
        monitor: The validation metric that says which is best.
        mode: Whether the best has the `min` or the `max` of it.
        on_failed_save: What to do when the disk is full or does not take it: `stop`, or `go_on` and
            try again when the next is due. The ones before stay either way. The last one of a run
            must succeed.

    Raises:
        ConfigError: `mode` is neither, or there is no such thing to do.
    """

    def __init__(
        self,
        *,
        every_steps: int = 0,
        keep_best: int = 1,
        monitor: str = "val/loss",
        mode: str = "min",
        on_failed_save: str = "stop",
    ) -> None:
        if mode not in ("min", "max"):
            raise ConfigError(f"monitor_mode={mode!r} is neither min nor max. Set one of them.")
        check_on_failed_save(on_failed_save)
        self.every_steps = every_steps
        self.keep_best = keep_best
        self.monitor = monitor
        self.mode = mode
        self.on_failed_save = on_failed_save
        self._saved_after = -1
        self._measured: dict[str, float] = {}  # by the validation after the present step

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Forgets what was measured of older weights."""
        self._measured = {}

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, _: int
    ) -> None:
        """Writes one when it is due, unless the validation that follows will."""
        ours: Any = trainer
        step = trainer.global_step
        if self.every_steps and step % self.every_steps == 0 and not ours.validates_after(step):
            self.save(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes one with the metrics of this validation, when it is due or among the best."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        ours: Any = trainer
        self._measured = {k: v for k, v in ours.latest.items() if k.startswith("val/")}
        due = not self.every_steps or trainer.global_step % self.every_steps == 0
        if due or self._is_among_best(trainer):
            self.save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the last one."""
        self.save(trainer, must=True)

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Sets Lightning's counters to the one cursor there is: the steps that are done."""
        if trainer.state.fn == "fit":
            self._saved_after = checkpoint["global_step"]
            loops = trainer.fit_loop.state_dict()
            checkpoint["loops"] = {"fit_loop": set_progress(loops, checkpoint["global_step"])}

    def save(self, trainer: Any, *, must: bool = False) -> None:
        """Writes a checkpoint of the present step, once.

        Args:
            trainer: The trainer of the run.
            must: The run ends when it cannot be written, whatever `on_failed_save` says.

        Raises:
            TrainingError: A weight is not finite, or the disk does not take the checkpoint.
        """
        step = trainer.global_step
        if step in (0, self._saved_after):
            return
        trainer.check_finite()
        saving = Saving(trainer)
        with trainer.throughput.aside():
            final: Path = trainer.run.checkpoint_folder(step)
            temporary = trainer.strategy.broadcast(saving.on_first(_temporary, final))
            try:
                if temporary:
                    saving.on_all(self._write_state, trainer, temporary)
                    weights = self._gathered(trainer)  # by all ranks, whatever the disk took
                    saving.on_first(self._finish, trainer, weights, temporary, final)
            finally:
                if temporary and trainer.is_global_zero:
                    shutil.rmtree(temporary, ignore_errors=True)  # there only when it failed
            failed = saving.failed_anywhere()  # all ranks meet here
        if failed:
            saving.tell(stops=must or self.on_failed_save == "stop")
        else:
            self._saved_after = step

    @staticmethod
    def _write_state(trainer: Any, temporary: str) -> None:
        state = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        trainer.strategy.save_checkpoint(state, Path(temporary) / TRAINER_FILE)

    @staticmethod
    def _gathered(trainer: Any) -> dict[str, Tensor] | None:
        trainer.strategy.reshard()
        with weights_to_use(trainer):
            weights: dict[str, Tensor] | None = trainer.strategy.gather_weights(
                trainer.lightning_module.trainable.network
            )
        return weights

    def _finish(
        self, trainer: Any, weights: dict[str, Tensor] | None, temporary: str, final: Path
    ) -> None:
        folder, network = Path(temporary), trainer.lightning_module.trainable.network
        with weights_to_use(trainer):
            write_folder(network, trainer.datamodule.tokenizer, folder, weights)
        files = file_sums(folder, written_files(folder), to_disk=True)
        read = trainer.datamodule.read_until(trainer.global_step, trainer.max_steps)
        noted = {"data": read} if read else {}
        record = {"step": trainer.global_step, "metrics": self._measured, "files": files, **noted}
        (folder / CHECKPOINT_FILE).write_text(json.dumps(record, indent=2) + "\n")
        replace_folder(folder, final)
        for checkpoint in self._superfluous(trainer.run.checkpoints()):
            shutil.rmtree(checkpoint.path)

    def _superfluous(self, found: list[Checkpoint]) -> list[Checkpoint]:
        measured = [c for c in found if self.monitor in c.metrics]
        best = sorted(measured, key=lambda c: self._rank(c.metrics[self.monitor]))[: self.keep_best]
        return [c for c in found[:-1] if c not in best]

    def _is_among_best(self, trainer: Any) -> bool:
        if self.monitor not in self._measured or not self.keep_best:
            return False
        measured = [c.metrics.get(self.monitor) for c in trainer.run.checkpoints()]
        known = sorted(self._rank(value) for value in measured if value is not None)
        worst = known[self.keep_best - 1] if len(known) >= self.keep_best else float("inf")
        return self._rank(self._measured[self.monitor]) < worst

    def is_better(self, value: float, than: float) -> bool:
        """Compares two values of the monitored metric; any number is better than none (NaN)."""
        return not math.isnan(value) and not self._rank(value) >= self._rank(than)

    def _rank(self, value: float) -> float:
        return value if self.mode == "min" else -value


def set_progress(loops: dict[str, Any], step: int) -> dict[str, Any]:
    """Fills a fresh fit loop's state with `step` completed steps of its one endless epoch."""
    for scope in ("total", "current"):
        loops["epoch_progress"][scope].update(ready=1, started=1, processed=0, completed=0)
        for counter in loops["epoch_loop.batch_progress"][scope]:
            loops["epoch_loop.batch_progress"][scope][counter] = step
        optimizer_steps = loops["epoch_loop.manual_optimization.optim_step_progress"][scope]
        optimizer_steps.update(ready=step, completed=step)
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] = step
    return loops


def _temporary(final: Path) -> str:
    final.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    folder.chmod(0o755)
    return str(folder)
