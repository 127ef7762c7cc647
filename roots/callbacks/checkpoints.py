"""When checkpoints are written, what is in them, and which stay."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint as CheckpointBase

from roots.callbacks.background import Flight
from roots.callbacks.best import Best
from roots.callbacks.failed_saves import Saving, check_on_failed_save
from roots.callbacks.taken import set_progress, swept, take_folder, take_state, temporary_folder
from roots.errors import ConfigError
from roots.records import as_json
from roots.runs import CHECKPOINT_FILE, file_sums, written_files
from roots.runs.writing import replace_folder, write_atomically
from roots.strategies.host_copy import HostCopy


class Checkpoints(CheckpointBase):
    """Keeps the newest checkpoint and the best ones.

    A checkpoint is a folder: the trainer's state to resume from, and beside it a Hugging Face
    folder to use. It is written under a temporary name and renamed when it is whole.

    In the background a step only copies what is saved to the host, and a thread writes it while
    training goes on; until it is renamed, the one before is the newest. One is written at a time:
    the next waits for it, and so does a validation, a stop by a signal, and whatever else ends the
    run. The ranks learn of a failure where they meet next: at the next save or validation, and
    within the steps between where the run is to stop.

    Args:
        every_steps: Optimizer steps between checkpoints; 0 writes one with each validation.
        keep_best: How many to keep of the best, beside the newest.
        monitor: The validation metric that says which is best. The first validation must report it,
            unless a callback names it in its `reports_later`.
        mode: Whether the best has the `min` or the `max` of it.
        on_failed_save: What to do when the disk is full or does not take it: `stop`, or `go_on` and
            try again when the next is due. The ones before stay either way. The last one of a run
            must succeed.
        background: Write behind the steps that follow, on CPUs and CUDA devices. Each rank that
            writes keeps room on the host for what it writes, from the first save to the end of the
            fit.

    Raises:
        ConfigError: `mode` is neither, there is no such thing to do, or the validation does not
            report what is monitored.
    """

    def __init__(
        self,
        *,
        every_steps: int = 0,
        keep_best: int = 1,
        monitor: str = "val/loss",
        mode: str = "min",
        on_failed_save: str = "stop",
        background: bool = True,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        check_on_failed_save(on_failed_save)
        self.every_steps = every_steps
        self.keep_best = keep_best
        self.best = Best(monitor, mode, keep_best)
        self.monitor = monitor
        self.on_failed_save = on_failed_save
        self.background = background
        self._now = now
        self._host = HostCopy()
        self._flight: Flight | None = None
        self._spent: dict[str, float] = {}
        self._saved_after = -1
        self._measured: dict[str, float] = {}  # by the validation after the present step
        self._keeps_all = False  # as long as nothing says which are the best

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
        self._look(ours)
        step = trainer.global_step
        every = self.every_steps or ours.val_every_steps  # also where nothing is validated on
        if every and step % every == 0 and not ours.validates_after(step):
            self.save(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes one with the metrics of this validation, when it is due or among the best."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        ours: Any = trainer
        self._measured = {k: v for k, v in ours.latest.items() if k.startswith("val/")}
        with ours.throughput.aside():
            self.settle(ours)  # which are the best is asked of the folders, by all ranks
        self._saved_after = -1  # one of this step, before a signal's stop, has no metrics
        self._check_monitor(ours)
        due = not self.every_steps or trainer.global_step % self.every_steps == 0
        # by the folders that the first rank sees: another machine's disk may lag behind
        if due or ours.strategy.broadcast(ours.is_global_zero and self._is_among_best(ours)):
            self.save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the last one."""
        self.save(trainer, must=True)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Gives the memory of the copies back."""
        self.wait()
        self._host.release()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Gives it back where no `teardown` will."""
        self.wait()
        self._host.release()

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Sets Lightning's counters to the one cursor there is: the steps that are done."""
        if trainer.state.fn == "fit":
            self._saved_after = checkpoint["global_step"]
            loops = trainer.fit_loop.state_dict()
            checkpoint["loops"] = {"fit_loop": set_progress(loops, checkpoint["global_step"])}

    def save(self, trainer: Any, *, must: bool = False, waits: bool = False) -> None:
        """Writes a checkpoint of the present step, once; waits for the one before.

        Args:
            trainer: The trainer of the run.
            must: It is the last one: the run ends when it cannot be written, whatever
                `on_failed_save` says.
            waits: Return when it is written.

        Raises:
            TrainingError: A weight is not finite, or the disk does not take the checkpoint, or did
                not take the one before.
        """
        with trainer.throughput.aside():
            began = self._now()
            self.settle(trainer)
            step = trainer.global_step
            if step in (0, self._saved_after):
                return
            trainer.check_finite()
            behind = self._may_go_behind(trainer) and not (must or waits)
            flight = self._taken_off(trainer, behind=behind)
            self._flight = flight  # before it starts, so that whatever interrupts waits for it
            flight.start() if behind else flight.run()
            flight.step_seconds = self._now() - began
            if not behind:
                self.settle(trainer, must=must)

    def settle(self, trainer: Any, *, must: bool = False) -> None:
        """Waits until nothing is being written; all ranks meet, and learn how it went.

        Raises:
            TrainingError: The disk did not take it.
        """
        flight = self._flight
        if flight is None:
            return
        flight.join()
        self._flight = None  # only now: a second Ctrl-C in the line above leaves it to `wait`
        if flight.saving.has_failed_anywhere():
            flight.saving.tell(stops=must or self.on_failed_save == "stop")
            return
        self._saved_after = flight.saving.step
        self._tell(trainer, flight)

    def join(self) -> None:
        """Waits until this process writes nothing; the others may go on."""
        if self._flight is not None:
            self._flight.join()

    def wait(self) -> None:
        """Waits without the others, and says what failed: the run has ended."""
        self.join()
        flight, self._flight = self._flight, None
        if flight is not None and flight.saving.has_failed:
            sys.stderr.write(f"\n{flight.saving.words}\n")

    @property
    def is_writing(self) -> bool:
        """Whether a checkpoint is being written behind the steps."""
        return self._flight is not None and not self._flight.is_done

    @property
    def must_stop(self) -> bool:
        """Whether a checkpoint could not be written here, and the run is to stop for that."""
        flight = self._flight
        if flight is None or not flight.is_done or not flight.saving.has_failed:
            return False
        return flight.saving.error is not None or self.on_failed_save == "stop"

    def saves_behind(self, trainer: Any) -> bool:
        """Whether any checkpoint before the last will be written behind the steps."""
        every = self.every_steps or trainer.val_every_steps
        return self.background and 0 < every < trainer.max_steps

    def spent(self) -> dict[str, float]:
        """Gives, once, how long the newest checkpoint took in its step and behind it."""
        spent, self._spent = self._spent, {}
        return spent

    def _is_among_best(self, trainer: Any) -> bool:
        return self.best.is_among(self._measured.get(self.monitor), trainer.run.checkpoints())

    def _check_monitor(self, trainer: Any) -> None:
        """Refuses to train on by a metric that is not there; a run at its end is only told."""
        unknown = self.best.why_unknown(trainer)
        self._keeps_all = bool(unknown)
        if not unknown:
            return
        if trainer.global_step < trainer.max_steps:
            self.save(trainer, waits=True)
            raise ConfigError(
                f"{unknown} Step {trainer.global_step:,} is saved and no checkpoint was removed. Go"
                f" on by one of them: roots fit --resume {trainer.run.path} --trainer.monitor NAME."
            )
        if trainer.is_global_zero:
            sys.stderr.write(f"\n{unknown} All checkpoints were kept.\n")

    def _may_go_behind(self, trainer: Any) -> bool:
        copies = trainer.strategy.root_device.type in ("cpu", "cuda")  # elsewhere not tried
        return self.background and copies and trainer.global_step < trainer.max_steps

    def _tell(self, trainer: Any, flight: Flight) -> None:
        if flight.is_told:
            return
        flight.is_told = True
        self._spent = {
            "save/step_seconds": flight.step_seconds,
            "save/write_seconds": flight.write_seconds,
        }
        trainer.say(flight.words)

    def _look(self, trainer: Any) -> None:
        """Says that a checkpoint is written; one process alone learns at once that it is not."""
        flight = self._flight
        if flight is None or not flight.is_done:
            return
        if trainer.world_size == 1:
            self.settle(trainer)
        elif not flight.saving.has_failed:
            self._tell(trainer, flight)

    def _taken_off(self, trainer: Any, *, behind: bool) -> Flight:
        """Takes what a checkpoint has: a copy where it is written behind, else part by part."""
        saving, final = Saving(trainer), trainer.run.checkpoint_folder(trainer.global_step)
        temporary = trainer.strategy.broadcast(saving.on_first(temporary_folder, final))
        if not temporary:
            return Flight(saving, lambda: None)
        run, folder, record = trainer.run, Path(temporary), self._record(trainer)
        writes: list[Callable[[], None]] = []

        def write() -> None:
            with swept(folder, by=trainer):
                for part in writes:
                    saving.on_all(part)
                saving.on_first(self._finish, run, folder, final, record)

        with swept(folder, by=trainer, only_after_errors=True):
            self._host.begin()
            for take in (take_state, take_folder):
                if behind:
                    writes.append(take(trainer, folder, self._host))
                else:
                    saving.on_all(take(trainer, folder, None))
            self._host.forget()
        return Flight(saving, write)

    def _record(self, trainer: Any) -> dict[str, Any]:
        read = trainer.datamodule.read_until(trainer.global_step)
        noted = {"tokens": trainer.tokens_seen, **({"data": read} if read else {})}
        noted |= {"early_stop": trainer.early_stop, "metrics": self._measured}
        return {"step": trainer.global_step, "files": {}, **noted}

    def _finish(self, run: Any, folder: Path, final: Path, record: dict[str, Any]) -> None:
        files = file_sums(folder, written_files(folder), to_disk=True)
        text = as_json({**record, "files": files}, indent=2) + "\n"
        write_atomically(folder / CHECKPOINT_FILE, text)
        replace_folder(folder, final)
        for checkpoint in [] if self._keeps_all else self.best.superfluous(run.checkpoints()):
            with suppress(OSError):  # the new one is whole: what is left over is swept by a resume
                gone = checkpoint.path.with_name(f".{checkpoint.path.name}")
                checkpoint.path.rename(gone)  # half removed it would look whole
                shutil.rmtree(gone)

    def is_better(self, value: float, than: float) -> bool:
        """Compares two values of the monitored metric; any number is better than none (NaN)."""
        return self.best.rank(value) < self.best.rank(than)
