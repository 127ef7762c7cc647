"""One run, one directory: claims it, says what is run on what, and writes the metrics."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import lightning as L
import torch
import yaml
from lightning.pytorch.loggers import Logger

from roots.callbacks.environment import describe_environment
from roots.callbacks.first_rank import by_first_rank
from roots.callbacks.formats import in_words, number_formats
from roots.callbacks.metrics_csv import MetricsCSV
from roots.callbacks.stop_signals import Interrupted
from roots.callbacks.throughput import waiter
from roots.callbacks.told import told_if_it_fails
from roots.callbacks.trackio_log import TrackioLog
from roots.callbacks.utilization import Utilization, utilization_of
from roots.callbacks.wandb_run import open_wandb
from roots.errors import CheckpointError, MissingExtra
from roots.evaluation import corpus_page, run_page
from roots.runs import Run, RunLock, claim, redact_values, write_atomically, write_record
from roots.runs import state as run_state


class Recorder(L.Callback):
    """Keeps the books of a run: the directory, the configuration, the environment, the metrics.

    The directory of a run that is resumed stays as it is until its checkpoint was read.

    Args:
        run: The directory of a run that is resumed; None claims a new one.
    """

    def __init__(self, *, run: Run | None = None) -> None:
        self.run = run
        self._tokens_at_lap = 0
        self._step_at_lap = 0
        self._reported_at = 0  # before a fit that goes on between two reports
        self._validating_since = 0.0
        self._utilization = Utilization()
        self._lock = RunLock(None)
        self._came_at = 0.0
        self._is_open = False
        self._decided: dict[str, Any] = {}
        self._logged: set[str] = set()  # names that only Lightning's `self.log` has told

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Claims the directory on the first rank, and tells the others."""
        ours: Any = trainer
        if stage != "fit":
            return
        if self.run is None:
            self.run = by_first_rank(ours, lambda: claim(ours.runs_dir, ours.name))
        assert self.run is not None
        ours.run = self.run
        self._lock_out_others(ours)
        self._check_all_begin_at_one_step(ours)
        self._came_at, self._is_open, self._decided = time.time(), False, {}
        if trainer.is_global_zero:
            draw_corpora(ours)
        ours.loggers = self._loggers(ours)
        if not ours.resumed_from:
            self._open(ours)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes down what was decided when network and optimizer were built."""
        ours: Any = trainer
        module: Any = pl_module
        ours.write_down(module.builder.attention)
        formats = number_formats(ours, module)
        module.remarks.append(in_words(formats))
        if trainer.is_global_zero:
            companion = module.companion
            beside = {companion.name: companion.record} if companion else {}
            self._decided = {"number_formats": formats, "remarks": module.remarks, **beside}
        if self._is_open:
            self._write_down(ours)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the stopwatch, once it is known what the device can do."""
        ours: Any = trainer
        if not self._is_open:
            self._open(ours)
        self._utilization = utilization_of(ours, pl_module)
        self._tokens_at_lap, self._step_at_lap = ours.tokens_seen, trainer.global_step
        self._reported_at = ours.reported_until(trainer.global_step)
        ours.throughput.wait = waiter(trainer.strategy.root_device)
        ours.throughput.wait()
        ours.throughput.start()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, _: int
    ) -> None:
        """Reports a step, every so many."""
        ours, module = trainer, pl_module
        if ours.logs_after(trainer.global_step):  # type: ignore[attr-defined]
            module.report(self._row(ours, module))  # type: ignore[operator]

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Looks at the clock, once the device has done the steps before."""
        ours: Any = trainer
        ours.throughput.wait()
        self._validating_since = time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Takes the validation out of the training's time."""
        ours: Any = trainer
        self._take_logged(ours, "val")
        if trainer.is_global_zero and self.run is not None and ours.details:
            with told_if_it_fails(ours, "the details of the validation were not kept"):
                write_details(self.run, "val", {"step": trainer.global_step, **ours.details})
        ours.throughput.leave_out(time.perf_counter() - self._validating_since)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Takes what the module or a callback logged."""
        self._take_logged(trainer, "test")

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draws the run, and writes its page; what cannot be drawn leaves the run as it is."""
        ours: Any = trainer
        if trainer.is_global_zero and self.run is not None:
            again = f"roots report {self.run.path}"
            with told_if_it_fails(ours, "the page of the run was not written", again):
                run_page.report_run(self.run)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Writes down that the run is finished, and lets go of it."""
        ours: Any = trainer
        self._end(trainer, "finished", ours.stopped_early or ours.cut_short)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Waits for a checkpoint on its way, writes down what ended the run, and lets go of it."""
        trainer.checkpoints.wait()  # type: ignore[attr-defined]
        stopped = isinstance(exception, (Interrupted, KeyboardInterrupt))
        why = str(exception) if stopped else f"{type(exception).__name__}: {exception}"
        with contextlib.suppress(OSError):  # such as the full disk that the exception tells of
            self._end(trainer, "interrupted" if stopped else "failed", why)
        self._lock.release()

    def _end(self, trainer: Any, state: str, why: str = "") -> None:
        """Writes down how the fit ended, where this process is the one that trained it."""
        if self.run is not None and self._is_open and self._lock.is_held:
            run_state.end(self.run, state, step=trainer.global_step, why=why)
        self._lock.release()

    def _take_logged(self, trainer: Any, stage: str) -> None:
        """Takes what was logged of an evaluation by `self.log`, beside what is reported to us.

        All ranks take what the first has, since they stop and save by it.
        """
        theirs = {k: v for k, v in trainer.callback_metrics.items() if k.startswith(f"{stage}/")}
        new = {k: float(v) for k, v in theirs.items() if k not in {*trainer.latest} - self._logged}
        new = trainer.strategy.broadcast(new)
        self._logged |= new.keys()
        trainer.latest.update(new)

    def _lock_out_others(self, trainer: Any) -> None:
        """Takes the run for this process; all ranks learn when it is not free."""
        assert self.run is not None
        self._lock = RunLock(self.run.path)
        if held := by_first_rank(trainer, self._lock.acquire):
            raise CheckpointError(
                f"{self.run.path} is in use by {held}: two at once would spoil each other's"
                " checkpoints. Wait until it ends, or stop it (it then writes a checkpoint)."
            )
        if went_on := by_first_rank(trainer, lambda: self._newer(trainer)):
            raise CheckpointError(
                f"{self.run.path} went on to {went_on} while this process began from step"
                f" {trainer.resumed_from:,}. Resume it once more."
            )

    def _newer(self, trainer: Any) -> str:
        """Names the newest checkpoint that was written after this process had chosen its own."""
        if self.run is None or not trainer.resumed_from:
            return ""
        start = self.run.checkpoint_folder(trainer.resumed_from).name
        folders = {*self.run.checkpoints_folder.glob("step-*")} - trainer.passed_over.keys()
        names = [(len(folder.name), folder.name) for folder in folders]
        newest = max(names, default=(0, ""))
        return newest[1] if newest > (len(start), start) else ""

    def _check_all_begin_at_one_step(self, trainer: Any) -> None:
        """Refuses ranks that found different checkpoints: the disk of one machine may lag behind.

        They would exchange numbers of different steps, or wait for each other for ever.
        """
        step, strategy = trainer.resumed_from, trainer.strategy
        ends = torch.tensor([step, -step], device=strategy.root_device)
        latest, earliest = strategy.reduce(ends, reduce_op="max").tolist()
        if latest != -earliest:
            raise CheckpointError(
                f"The newest whole checkpoint of {trainer.run.path} is that of step {latest:,} for"
                f" one process and that of step {-earliest:,} for another: its disk shows them"
                " different files. Wait until all machines see the same, and go on again."
            )

    def _row(self, trainer: Any, module: Any) -> dict[str, float]:
        report = module.last_step
        numbers = report.numbers  # the host has waited for the device here, and nowhere else
        seen, first, step = trainer.tokens_seen, self._step_at_lap, trainer.global_step
        tokens, reported = seen - self._tokens_at_lap, self._reported_at
        self._tokens_at_lap, self._step_at_lap, self._reported_at = seen, step, step
        rate = trainer.throughput.lap(tokens)
        data = trainer.datamodule
        return {
            "train/loss": numbers.loss,
            "optim/grad_norm": numbers.grad_norm,
            "optim/learning_rate": report.learning_rate,
            **numbers.others,
            "train/tokens_per_second": rate,
            **self._utilization.metrics(rate, data.tokens_by_length(first, step)),
            "train/tokens_per_second_median": trainer.throughput.median,
            "train/tokens_seen": float(seen),
            **trainer.checkpoints.spent(),
            **data.step_metrics(reported, step, module.micro_batch_size),
        }

    def _open(self, trainer: Any) -> None:
        """Writes down what is run on what, and opens the file of the metrics."""
        assert self.run is not None
        if trainer.is_global_zero:
            start, stop = trainer.resumed_from, trainer.max_steps
            self.run.sweep()
            self.run.samples.drop(after=start)
            run_state.begin(self.run, step=start, max_steps=stop, now=lambda: self._came_at)
            if trainer.passed_over:
                self.run.set_aside(after=start)
            self._keep_former(_config(trainer), start)
        self._write_down(trainer)
        trainer.loggers[-1].open()
        self._is_open = True

    def _write_down(self, trainer: Any) -> None:
        """Writes the configuration, the environment and, once all is decided, the data's card."""
        if not trainer.is_global_zero:
            return
        assert self.run is not None
        write_atomically(self.run.config_file, _config(trainer))
        environment = describe_environment(trainer, trainer.datamodule) | self._decided
        name = f"environment-from-{trainer.resumed_from:06d}.json" if trainer.resumed_from else ""
        write_record(self.run.path / (name or "environment.json"), environment)
        if self._decided:
            write_record(self.run.path / "data.json", trainer.datamodule.card())

    def _keep_former(self, config: str, step: int) -> None:
        """Keeps the configuration that was in force until `step`, where it is another one."""
        assert self.run is not None
        file = self.run.config_file
        former = file.read_text(encoding="utf-8") if file.exists() else config
        kept = self.run.path / f"config-until-{step:06d}.yaml"
        if former != config and not kept.exists():  # else nothing was kept of the fit between
            write_atomically(kept, former)

    def _loggers(self, trainer: Any) -> list[Logger]:
        """Makes the loggers, none of which writes yet; what tracks the run is `trainer.logger`."""
        assert self.run is not None
        loggers: list[Logger] = []
        if trainer.wandb:
            loggers.append(open_wandb(trainer))
        if trainer.trackio:
            goes_on = trainer.resumed_from > 0
            named = {"run": self.run, "title": trainer.name, "config": trainer.spec}
            loggers.append(TrackioLog(**named, goes_on=goes_on))
        if trainer.tensorboard:
            loggers.append(tensorboard_logger(self.run))
        file = self.run.metrics_file
        return [*loggers, MetricsCSV(path=file, from_step=trainer.resumed_from)]


def draw_corpora(trainer: Any) -> None:
    """Draws the data card of each corpus that a fit made and that has none, as `roots corpus`."""
    for folder in trainer.datamodule.made_folders:
        if not (folder / corpus_page.PAGE).is_file():
            again = f"roots corpus report {folder}"
            with told_if_it_fails(trainer, "the data card was not drawn", again):
                corpus_page.report_corpus(folder)


def write_details(run: Run, stage: str, details: dict[str, Any]) -> None:
    """Keeps what an evaluation found beside numbers, for the page."""
    write_record(run.details_file(stage), details)


def _config(trainer: Any) -> str:
    return yaml.safe_dump(redact_values(trainer.spec), sort_keys=False, allow_unicode=True)


def tensorboard_logger(run: Run) -> Logger:
    """Opens TensorBoard's files in the run's directory.

    Raises:
        MissingExtra: tensorboard is not installed.
    """
    from lightning.pytorch.loggers import TensorBoardLogger

    try:
        return TensorBoardLogger(run.path, name="", version="tensorboard")
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "trainer.tensorboard needs the package tensorboard, which is not installed. Install it"
            " (pip install 'roots-lm[tensorboard]', or pip install -e '.[tensorboard]' in a clone),"
            " or leave trainer.tensorboard out: metrics.csv has the same numbers."
        ) from error
