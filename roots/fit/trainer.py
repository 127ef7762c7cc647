"""Lightning's Trainer, counting optimizer steps and keeping the books."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning as L

from roots.callbacks import Checkpoints, NonFinite, Progress, Recorder, SkippedSteps, Throughput
from roots.errors import ConfigError
from roots.fit.devices import resolve_devices
from roots.fit.ending import EndsRuns
from roots.fit.named import step_precision, step_strategy
from roots.fit.quiet import quieten_lightning
from roots.fit.run_callbacks import run_callbacks
from roots.fit.spec import HasSpec
from roots.fit.starting import StartsRuns
from roots.fit.step_logs import StepLogs
from roots.fit.trainer_settings import (
    check_counts,
    check_one_of,
    check_seed,
    check_tracked,
    refuses_lightnings_own,
)
from roots.fit.unchanged import refuse_other_data
from roots.precision import StepPrecision
from roots.records import expanded
from roots.runs import Run, check_name
from roots.runs.checkpoint import read_checkpoint
from roots.strategies import StepStrategy


class Trainer(StartsRuns, EndsRuns, HasSpec):
    """Trains, validates, tests and predicts; every `_steps` is optimizer steps.

    To callbacks of Lightning a run is one endless epoch: `current_epoch` is 0 and `max_epochs` -1,
    the hooks of a training epoch come once, and `global_step` counts the steps that are done.
    `outputs` of `on_train_batch_end` is empty: a step's numbers are `pl_module.last_step`, and what
    was reported last, of steps and validations, is in `trainer.latest` from `on_validation_end` on.
    What is logged by `self.log` goes to every logger after each `log_every_steps` steps.

    Args:
        max_steps: Optimizer steps of the run; 0 takes them from `max_epochs`.
        max_epochs: Passes over the training data, instead of `max_steps`; a part of one is fine.
        val_every_steps: Optimizer steps between validations; there is always one at the end.
            0 validates only then, or as `val_every_epochs` says.
        val_every_epochs: Passes over the training data between validations.
        log_every_steps: Optimizer steps between reports.
        checkpoint_every_steps: Optimizer steps between checkpoints; 0 writes one with each
            validation.
        keep_best: How many checkpoints to keep of the best, beside the newest.
        monitor: The validation metric that says which is best, such as `val/loss`; the run ends
            after the first validation that does not report it.
        monitor_mode: Whether the best has the `min` or the `max` of it.
        early_stopping: Validations in a row without a better one after which the run ends; 0 trains
            to the end.
        precision: `32`, `bf16-mixed`, `bf16-true`, `16-mixed`, `fp8-mixed`, or a precision of
            roots; `auto` takes bf16-mixed where the device has units for it, else 32.
        strategy: `auto` (one device; on several GPUs what the plan says fits best, `ddp` first; on
            several CPUs `ddp`), `single_device`, `ddp`; `fsdp`, which cuts weights,
            gradients and optimizer state over the devices; `hsdp`, the same within each machine;
            `tensor_parallel`, where two devices share the layers of a network, and `fsdp` over such
            pairs; `deepspeed`, its ZeRO; or a strategy of roots by its class_path.
        accelerator: `auto`, `cpu`, `gpu` or `mps`.
        devices: How many devices of this machine, or which; `auto` takes all GPUs, or one CPU.
            Not read under torchrun and srun, which say how many processes there are.
        num_nodes: Machines; not read there either.
        name: Names the directory of a new run; one that is resumed keeps its own.
        runs_dir: The folder of all runs; `~` and `${VARIABLE}` are expanded.
        seed: Decides weights, order and dropout; the same seed gives the same run.
        wandb: Track with Weights & Biases: online when a key is set, else offline.
        wandb_checkpoints: Send the newest and the best checkpoint there too, when a fit ends: as
            artifacts with the aliases `last` and `best`.
        trackio: Track with trackio's local dashboard (`trackio show`), without an account.
        tensorboard: Track with TensorBoard.
        progress: Show progress; in a notebook the curves as well.
        deterministic: Refuse torch operations that are not repeatable.
        on_non_finite: What to do when loss or gradient is not finite: `stop`, or `skip` to leave
            the step out; 16-mixed always skips, with a smaller loss scale. `optim/steps_skipped`
            counts. After 25 in a row the run stops.
        on_failed_save: What to do when the disk does not take a checkpoint: `stop`, or `go_on` and
            try again when the next is due. The checkpoints before stay either way.
        save_in_background: Copy what is saved to the host's memory and write it while training goes
            on. The room for the copy is kept until the fit ends: on the first rank, or with
            sharded_checkpoints on each for its part, 12 bytes per parameter that AdamW trains in
            float32 (4 more for `fsdp`'s gathered weights, or for an average of them). `false`
            writes within the step, as every device but CPUs and CUDA does.
        callbacks: Lightning callbacks beside those that every run has.

    Raises:
        ConfigError: A number that cannot work, or names that do not fit together.
    """

    @refuses_lightnings_own
    def __init__(
        self,
        *,
        max_steps: int = 0,
        max_epochs: float = 0.0,
        val_every_steps: int = 0,
        val_every_epochs: float = 0.0,
        log_every_steps: int = 10,
        checkpoint_every_steps: int = 0,
        keep_best: int = 1,
        monitor: str = "val/loss",
        monitor_mode: str = "min",
        early_stopping: int = 0,
        precision: str | int | StepPrecision = "auto",
        strategy: str | StepStrategy = "auto",
        accelerator: str = "auto",
        devices: int | str | list[int] = "auto",
        num_nodes: int = 1,
        name: str = "run",
        runs_dir: str = "runs",
        seed: int = 1,
        wandb: bool = False,
        wandb_checkpoints: bool = False,
        trackio: bool = False,
        tensorboard: bool = False,
        progress: bool = True,
        deterministic: bool = False,
        on_non_finite: str = "stop",
        on_failed_save: str = "stop",
        save_in_background: bool = True,
        callbacks: list[L.Callback] | None = None,
    ) -> None:
        check_counts(1, log_every_steps=log_every_steps, num_nodes=num_nodes)
        check_counts(
            0,
            max_steps=max_steps,
            val_every_steps=val_every_steps,
            checkpoint_every_steps=checkpoint_every_steps,
            keep_best=keep_best,
            early_stopping=early_stopping,
        )
        check_one_of(max_steps=max_steps, max_epochs=max_epochs)
        check_seed(seed)
        if val_every_epochs:
            check_one_of(val_every_steps=val_every_steps, val_every_epochs=val_every_epochs)
        check_tracked(wandb=wandb, wandb_checkpoints=wandb_checkpoints)
        check_name(name)
        self._arguments = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        self.epochs = max_epochs
        self.val_every_epochs = val_every_epochs
        self.val_every_steps = val_every_steps
        self.log_every_steps = log_every_steps
        self.name = name
        self.runs_dir = expanded(runs_dir)
        self.seed = seed
        self.wandb = wandb
        self.wandb_checkpoints = wandb_checkpoints
        self.trackio = trackio
        self.tensorboard = tensorboard
        self.run: Run | None = None
        self.resumed_from = 0
        self._knows_data = False  # that they are those of the run which goes on
        self.passed_over: dict[Path, str] = {}
        self.early_stop = {}
        self.latest: dict[str, float] = {}
        self.details: dict[str, Any] = {}  # of the newest evaluation, beside its numbers
        self.throughput = Throughput()
        self.on_non_finite = on_non_finite
        self.skipped_steps = SkippedSteps()
        device, n_local, num_nodes = resolve_devices(accelerator, devices, num_nodes)
        self.checkpoints = Checkpoints(
            every_steps=checkpoint_every_steps,
            keep_best=keep_best,
            monitor=monitor,
            mode=monitor_mode,
            on_failed_save=on_failed_save,
            background=save_in_background,
        )
        self._recorder = Recorder()
        quieten_lightning()
        super().__init__(
            max_steps=max_steps or 1,  # until the data tell how long an epoch is
            val_check_interval=val_every_steps or max_steps or 1,
            check_val_every_n_epoch=None,
            strategy=step_strategy(strategy, device, n_local * num_nodes),
            plugins=[step_precision(precision, device)],
            accelerator=device.type,
            devices=devices if isinstance(devices, list) else n_local,
            num_nodes=num_nodes,
            callbacks=run_callbacks(
                self,
                callbacks or [],
                recorder=self._recorder,
                patience=early_stopping,
                progress=progress,
            ),
            logger=False,
            log_every_n_steps=log_every_steps,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            deterministic=deterministic,
            default_root_dir=self.runs_dir,
            enable_autolog_hparams=False,
        )
        self._logger_connector = StepLogs(self)

    # -- the run -----------------------------------------------------------------------------

    def settle(self, data: Any) -> None:
        """Turns epochs into optimizer steps, once the data are there, and knows them again.

        Raises:
            ConfigError: Epochs are asked for, and the data are not there yet.
            CheckpointError: The data are not those of the run that goes on, or would not be read
                as they were.
        """
        if self.epochs or self.val_every_epochs:
            self._count_steps(data)
        if self.run is not None and self.resumed_from and data.is_ready and not self._knows_data:
            refuse_other_data(self.run, data)
            noted = read_checkpoint(self.run.checkpoint_folder(self.resumed_from))
            data.check_past(noted.data, self.max_steps)
            self._knows_data = True

    def _count_steps(self, data: Any) -> None:
        if not data.is_ready:
            raise ConfigError(
                f"How many steps an epoch has is not known before {data.path} is made. Make it"
                " first (roots corpus), or set trainer.max_steps and val_every_steps."
            )
        if self.epochs:
            steps = data.steps_for(_rows_in(self.epochs, data))
            self.fit_loop.epoch_loop.max_steps = max(steps, 1)
        if self.val_every_epochs:
            rows = _rows_in(self.val_every_epochs, data)  # rounded up, as the run's steps are:
            every = math.ceil(rows / data.sequences_per_step)  # else one comes just before its end
            self.val_every_steps = max(every, 1)
        self.val_check_interval = self.val_every_steps or self.max_steps

    def resume(self, run: Run) -> Path:
        """Makes this trainer go on in a run's directory; gives the checkpoint to load.

        That is the newest whose files are as they were written; those after it are set aside when
        the run starts.
        """
        last, self.passed_over = run.last_intact()
        self.run = self._recorder.run = run
        self.resumed_from = last.step
        self.remember(run, last)
        return last.trainer_file

    def logs_after(self, step: int) -> bool:
        """Tells whether the step that completes `step` steps is reported."""
        return step % self.log_every_steps == 0 or step in (1, self.max_steps)

    def reported_until(self, step: int) -> int:
        """Gives the last step up to `step` that was reported; 0 before the first."""
        return step // self.log_every_steps * self.log_every_steps or min(step, 1)

    def validates_after(self, step: int) -> bool:
        """Tells whether a validation follows the step that completes `step` steps."""
        has_text = self.enable_validation and sum(self.num_val_batches) > 0
        due = step >= self.max_steps or step % (self.val_every_steps or self.max_steps) == 0
        return has_text and due

    @property
    def tokens_seen(self) -> int:
        """Input tokens trained on so far, over all ranks."""
        return int(self.datamodule.tokens_until(self.global_step))  # type: ignore[attr-defined]

    def say(self, text: str) -> None:
        """Shows a line to whoever watches."""
        for callback in self.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Progress):
                callback.say(self, text)

    def save_now(self) -> None:
        """Writes a checkpoint of the present step, unless there is one, and waits for it."""
        self.checkpoints.save(self, waits=True)

    def check_finite(self) -> None:
        """Raises TrainingError when the newest step or a weight is not finite."""
        for callback in self.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, NonFinite):
                callback.check(self, self.lightning_module)
                callback.check_weights(self, self.lightning_module)


def _rows_in(epochs: float, data: Any) -> float:
    """Counts the training rows of epochs, without the last bits by which 0.7 of 10 is over 7."""
    rows: float = epochs * data.n_train
    return round(rows, 6)
