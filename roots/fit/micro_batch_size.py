"""`micro_batch_size: auto`: the most rows that fit into memory, on every rank."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import torch

from roots.errors import ConfigError
from roots.plan.held import Held
from roots.plan.memory import of_groups, planner_of, way_of
from roots.plan.rows import planned_rows
from roots.plan.widest import widest_batch


class MicroBatchSize(L.Callback):
    """Finds out how many rows fit, where that is left open.

    The plan says first, before the network is built, from the device's memory or what this machine
    has free. On a GPU, a forward and backward pass of so many rows is then tried, beside as much
    memory as the optimizer will take; where it does not fit, half as many rows are. The smallest
    number of any rank is that of all. Where weights are cut over the ranks, a rank that runs out of
    memory would leave the others waiting, so the plan alone decides.
    """

    def __init__(self) -> None:
        self._held: Held | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Takes what the plan says."""
        module: Any = pl_module
        if stage != "fit" or not module.seeks_rows:
            return
        ours: Any = trainer
        module.learn_of(ours.datamodule)
        planner = of_groups(planner_of(ours, module, ours.datamodule), ours.strategy)
        rows, why = planned_rows(planner, way_of(ours.strategy, planner.target))
        rows = ours.strategy.smallest(rows)
        module.remarks.append(f"micro_batch_size: {rows}, {why}")
        if ours.strategy.root_device.type == "cuda" and ours.strategy.builds_whole:
            self._held = planner.held(1)
        settle(ours, module, rows)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Tries it on the device."""
        ours: Any = trainer
        module: Any = pl_module
        if self._held is None:
            return
        reserve = self._held.state + self._held.masters + self._held.step_gradients
        planned = module.micro_batch_size

        def fits(rows: int) -> bool:
            return fits_on_device(ours, module, rows, reserve=reserve)

        rows = most_rows(planned, fits, ours.strategy.smallest)
        self._held = None
        tried = "as planned" if rows == planned else f"instead of the {planned} of the plan"
        module.remarks.append(f"micro_batch_size: {rows}, tried on the device, {tried}")
        settle(ours, module, rows)


def settle(trainer: Any, module: Any, rows: int) -> None:
    """Makes a number of rows that of the run, so that a resumed one keeps it."""
    module.micro_batch_size, module.seeks_rows = rows, False
    trainer.write_down_rows(rows)


def most_rows(rows: int, fits: Callable[[int], bool], smallest: Callable[[int], int]) -> int:
    """Halves a number of rows until it fits on every rank.

    Args:
        rows: What to try first, the same on all ranks.
        fits: Tries it on this rank.
        smallest: Gives the smallest number of all ranks, which all come there at once.

    Raises:
        ConfigError: A single row does not fit.
    """
    while rows:
        agreed = smallest(rows if fits(rows) else rows // 2)
        if agreed == rows:
            return rows
        rows = agreed
    raise ConfigError(
        "A forward and backward pass of a single row does not fit into the memory of a device."
        " Set data.seq_len lower, take a smaller network, or set trainer.strategy to"
        " roots.strategies.FSDP with activation_checkpointing: full."
    )


def fits_on_device(trainer: Any, module: Any, rows: int, *, reserve: int) -> bool:
    """Tries a forward and backward pass, and leaves everything as it was.

    Args:
        trainer: The run's.
        module: Its network is built.
        rows: Rows of full length.
        reserve: Bytes that the optimizer will take, which are kept free.
    """
    device = trainer.strategy.root_device
    devices = [device] if device.type == "cuda" else []
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    parameters = list(module.parameters())
    gradients = [parameter.grad for parameter in parameters]
    try:
        with torch.random.fork_rng(devices=devices):
            room = torch.empty(reserve, dtype=torch.uint8, device=device)
            _pass(trainer, module, widest_batch(module, trainer.datamodule, rows).to(device))
            del room
    except torch.OutOfMemoryError:
        return False
    finally:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        for buffer, before in buffers:
            buffer.data.copy_(before)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return True


def _pass(trainer: Any, module: Any, batch: Any) -> None:
    with trainer.strategy.micro_batch(last=False):
        with trainer.precision_plugin.forward_context():
            loss = module.trainable(batch).loss
        loss.backward()
