"""The memory of a run as it is set, and the table of the ways to split it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch

from roots.plan.activations import Recomputation, Unknown
from roots.plan.footprint import Planner, Way
from roots.plan.options import options_of, taken
from roots.plan.rows import planned_rows
from roots.plan.target import Target, target_of
from roots.plan.words import footprint_words, in_gib, table_of, way_words
from roots.plan.zero import zero_words
from roots.precision import PEAKS, PRECISIONS, StepPrecision
from roots.strategies import DDP, FSDP, DeepSpeed
from roots.strategies.tensor_parallel import narrowed


def planner_of(trainer: Any, model: Any, data: Any, target: Target | None = None) -> Planner:
    """Makes what finds footprints of a run.

    Args:
        trainer: Says how the run is split and in which precision.
        model: The LightningModule, which has learned of its data.
        data: Its data.
        target: Devices other than the trainer's.
    """
    config = model.builder.network_config(model.vocabulary, model.head)
    return Planner(
        model=model,
        data=data,
        empty=partial(model.builder.empty, config, model.head),
        precision=precision_for(trainer, target),
        target=target or target_of(trainer),
        callbacks=trainer.callbacks,
        saves_behind=trainer.checkpoints.saves_behind(trainer),
    )


def of_groups(planner: Planner, strategy: Any) -> Planner:
    """Makes a planner whose devices are groups of ranks that share layers, where there are any.

    What a group's devices send each other within layers is not counted.
    """
    size = strategy.ranks_per_share
    if size == 1:
        return planner
    whole, target = planner.empty, planner.target
    return Planner(
        model=planner.model,
        data=planner.data,
        empty=lambda: narrowed(whole(), size),
        precision=planner.precision,
        target=replace(target, ranks=target.ranks // size),
        callbacks=planner.callbacks,
        saves_behind=planner.saves_behind,
    )


def precision_for(trainer: Any, target: Target | None) -> StepPrecision:
    """Makes the precision of a run anew, on the host; `auto` is what the target would take."""
    kind = type(trainer.precision_plugin)
    if target is not None and trainer.arguments["precision"] == "auto":
        kind = PRECISIONS["bf16-mixed" if PEAKS[target.name].bfloat16 else "32"]
    precision: StepPrecision = kind()
    precision.use_device(torch.device("cpu"))
    return precision


def way_of(strategy: Any, target: Target) -> Way:
    """Reads from a strategy how it splits a run over some devices."""
    if isinstance(strategy, FSDP):
        copies = strategy.replicas or target.nodes
        return Way(
            "hsdp" if copies > 1 else "fsdp",
            target.ranks,
            target.ranks // copies,
            Recomputation(strategy.activation_checkpointing, strategy.checkpoint_every_blocks),
            reshard_after_forward=strategy.reshard_after_forward,
            reduce_every_micro_batch=strategy.reduce_every_micro_batch,
            cpu_offload=strategy.cpu_offload,
            tensor_parallel=strategy.tensor_parallel,
            sharded_checkpoints=strategy.sharded_checkpoints,
        )
    if isinstance(strategy, DDP) or target.ranks > 1:
        return Way("ddp", target.ranks)
    return Way("single_device", 1)


def memory_of(planner: Planner, trainer: Any) -> tuple[list[tuple[str, str]], str]:
    """Words what a run needs as it is set, and every way to split it.

    Returns:
        Lines of a plan, and a table; empty where the network cannot be run without numbers.
    """
    target, model = planner.target, planner.model
    try:
        given = 0 if model.seeks_rows else model.micro_batch_size
        options = options_of(planner, also=given)
        mine = of_groups(planner, trainer.strategy)
        way = way_of(trainer.strategy, mine.target)
        if trainer.arguments["strategy"] == "auto":
            way = taken(options_of(planner, only=given), target) or way
        rows, why = _rows(mine, way)
        footprint = mine.footprint(way, rows)
    except Unknown as error:
        return [("memory", f"not known: {error}")], ""
    table = table_of(options, target, also=rows)
    if isinstance(trainer.strategy, DeepSpeed):
        return [("memory", zero_words(planner, trainer.strategy))], table
    words = f"{way_words(way)}, micro-batches of {rows}{why}: {footprint_words(footprint, target)}"
    lines = [("memory", words)]
    if target.kind != "cpu" and (copy := mine.host_copy(way)):
        lines += [("saves", f"behind the steps, from {in_gib(copy)} on the host of the first rank")]
    return lines, table


def _rows(planner: Planner, way: Way) -> tuple[int, str]:
    """Gives the rows of a micro-batch, and where they come from if they are not given."""
    model = planner.model
    if not model.seeks_rows:
        return min(model.micro_batch_size, planner.share(way.ranks)), ""
    rows, why = planned_rows(planner, way)
    return rows, f" ({why})"
