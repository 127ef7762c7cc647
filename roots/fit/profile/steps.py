"""Trains the steps of a profile: warm-up, as many without the profiler as with it, one more.

Shapes and memory are recorded in that last step, not in those that are timed: on two CPU cores,
recording shapes made a step of 0.23 s one of 0.53 s, most of it in the loss's elementwise
operations, and so falsified the shares.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.profiler import ProfilerActivity, profile, record_function

from roots.callbacks import Checkpoints, Progress, Recorder, Samples, StopSignals, WandbRun
from roots.data.growing_data import GrowingData
from roots.errors import ConfigError
from roots.fit.compose import Composed
from roots.fit.profile.parts import STEP_RANGE
from roots.fit.profile.ranges import marked
from roots.optim.clipping import local

LEFT_OUT = (Recorder, Progress, Samples, Checkpoints, StopSignals, WandbRun)
"""Callbacks that write, show or ask for a run directory."""


@dataclass(frozen=True)
class Profiled:
    """What was measured of the steps.

    Args:
        timing: torch's profiler of the steps, stopped.
        details: That of one more step, with shapes and memory.
        plain_seconds: All steps without the profiler.
        profiled_seconds: As many steps with it.
        held_bytes: What lay in memory when the last step began.
        device_peak_bytes: Its peak by the device's allocator; 0 on a CPU, where nobody counts.
    """

    timing: profile
    details: profile
    plain_seconds: float
    profiled_seconds: float
    held_bytes: int
    device_peak_bytes: int


def profile_steps(
    composed: Composed,
    *,
    steps: int,
    warmup_steps: int,
    now: Callable[[], float] = time.perf_counter,
) -> Profiled:
    """Trains the steps; writes nothing. Steps that would grow have all of their rows at once.

    Args:
        composed: The run; it is used up by this.
        steps: Steps to measure, once without and once with the profiler.
        warmup_steps: Steps before that.
        now: The clock, in seconds.

    Raises:
        ConfigError: The run computes on a device that torch's profiler does not see.
    """
    trainer: Any = composed.trainer
    if trainer.strategy.root_device.type not in ("cpu", "cuda"):
        raise ConfigError(
            f"torch's profiler does not see what {trainer.strategy.root_device.type} computes."
            " Set trainer.accelerator to cpu or gpu."
        )
    measured = _Steps(steps=steps, warmup_steps=warmup_steps, now=now)
    trainer.callbacks = [c for c in trainer.callbacks if not isinstance(c, LEFT_OUT)] + [measured]
    trainer.limit_val_batches = 0
    if isinstance(composed.data, GrowingData):
        composed.data.begin_grown()
    trainer.fit(composed.model, datamodule=composed.data)
    return measured.result()


class _Steps(L.Callback):
    """Counts the steps, looks at the clock between them, and stops after the last."""

    def __init__(self, *, steps: int, warmup_steps: int, now: Callable[[], float]) -> None:
        self.plain_from = warmup_steps
        self.profiled_from = warmup_steps + steps
        self.last = warmup_steps + 2 * steps
        self.now = now
        self._marks = ExitStack()
        self._running = self._marks.enter_context(ExitStack())
        self._step: record_function | None = None
        self._profilers: list[profile] = []
        self._began = {"plain": 0.0, "profiled": 0.0}
        self._took = {"plain": 0.0, "profiled": 0.0}
        self._held = self._peak = 0

    def result(self) -> Profiled:
        timing, details = self._profilers
        return Profiled(
            timing, details, self._took["plain"], self._took["profiled"], self._held, self._peak
        )

    def setup(self, trainer: L.Trainer, *_: Any, **__: Any) -> None:
        """Makes a shorter run as long, once its data have said how many steps an epoch has."""
        loop = trainer.fit_loop.epoch_loop
        loop.max_steps = max(loop.max_steps, self.last + 1)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._between_steps(trainer, pl_module, done=0)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any, **__: Any
    ) -> None:
        self._between_steps(trainer, pl_module, done=trainer.global_step)

    def on_exception(self, *_: Any, **__: Any) -> None:
        self._marks.close()

    def _between_steps(self, trainer: Any, module: Any, *, done: int) -> None:
        device = trainer.strategy.root_device
        if done in (self.plain_from, self.profiled_from, self.last):
            _wait_for(device)
        if self._step is not None:
            self._step.__exit__(None, None, None)
        if done == self.profiled_from:
            self._took["plain"] = self.now() - self._began["plain"]
            self._marks.enter_context(marked(trainer, module))
            self._record(device, details=False)
            self._began["profiled"] = self.now()
        if done == self.last:
            self._took["profiled"] = self.now() - self._began["profiled"]
            self._measure_memory(trainer, module, device)
            self._record(device, details=True)
        if done == self.plain_from:
            self._began["plain"] = self.now()
        if done > self.last:
            self._stop(trainer, device)
        elif done >= self.profiled_from:
            self._step = record_function(STEP_RANGE)
            self._step.__enter__()

    def _record(self, device: torch.device, *, details: bool) -> None:
        self._running.pop_all().close()
        activities = [ProfilerActivity.CPU]
        activities += [ProfilerActivity.CUDA] if device.type == "cuda" else []
        profiler = profile(activities=activities, record_shapes=details, profile_memory=details)
        self._profilers.append(profiler)
        self._running.enter_context(profiler)
        _wait_for(device)

    def _measure_memory(self, trainer: Any, module: Any, device: torch.device) -> None:
        self._held = held_bytes(module, trainer.optimizers[0], device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def _stop(self, trainer: Any, device: torch.device) -> None:
        if device.type == "cuda":
            self._peak = torch.cuda.max_memory_allocated(device)
        self._marks.close()
        trainer.should_stop = True


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def held_bytes(module: nn.Module, optimizer: Optimizer, device: torch.device) -> int:
    """Counts what lies in memory between steps.

    On a CPU nobody counts it, so it is summed up over weights, gradients, buffers and the
    optimizer's state, each storage once.
    """
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    tensors: list[Tensor] = [*module.parameters(), *module.buffers()]
    tensors += [p.grad for p in module.parameters() if p.grad is not None]
    apply_to_collection(optimizer.state_dict(), Tensor, tensors.append)
    storages = [local(tensor).untyped_storage() for tensor in tensors]  # of shards, this rank's
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
