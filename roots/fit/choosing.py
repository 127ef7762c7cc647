"""`strategy: auto` on several GPUs: what the plan says fits best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from roots.fit.devices import resolve_devices
from roots.plan.activations import NOTHING, Unknown
from roots.plan.devices import USABLE
from roots.plan.footprint import Planner, Way
from roots.plan.options import best_of, needs_of, options_of
from roots.plan.target import Target
from roots.plan.words import in_gib, way_words
from roots.precision import StepPrecision, precision_named
from roots.strategies import DDP, FSDP, StepStrategy


def choose_strategy(settings: Mapping[str, Any], model: Any, data: Any) -> StepStrategy | None:
    """Chooses for `auto` on several GPUs, and tells the model why; None leaves the choice as it is.

    On one device, and on CPUs, there is nothing to plan: one process, or DDP.

    Args:
        settings: The trainer's arguments.
        model: The run's; its remarks are what the run says.
        data: The run's.
    """
    if settings["strategy"] != "auto":
        return None
    target = target_here(settings)
    if target is None:
        return None
    data.take_tokenizer_of(model.builder)
    model.learn_of(data)
    config = model.builder.network_config(model.vocabulary, model.head)
    precision = settings["precision"]
    kind = precision
    if not isinstance(precision, StepPrecision):
        kind = precision_named(str(precision), torch.device(target.kind))
    on_host = type(kind)()
    on_host.use_device(torch.device("cpu"))
    planner = Planner(
        model,
        data,
        lambda: model.builder.empty(config, model.head),
        on_host,
        target,
        callbacks=settings.get("callbacks") or (),
    )
    rows = 0 if model.seeks_rows else model.micro_batch_size
    way, why = chosen(planner, rows)
    model.remarks.append(f"strategy: {way_words(way)}, chosen by the plan: {why}")
    return strategy_of(way)


def target_here(settings: Mapping[str, Any]) -> Target | None:
    """Gives the GPUs of a run on several; None where there is nothing to choose.

    All processes of a machine come to the same answer: the smallest of its devices counts.
    """
    device, n_local, nodes = resolve_devices(
        settings["accelerator"], settings["devices"], settings["num_nodes"]
    )
    if device.type != "cuda" or n_local * nodes == 1:
        return None
    here = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
    smallest = min(here, key=lambda properties: properties.total_memory)
    usable = int(smallest.total_memory * USABLE)
    return Target("cuda", smallest.name, usable, n_local * nodes, nodes)


def chosen(planner: Planner, rows: int) -> tuple[Way, str]:
    """Gives the best way to split a run that fits, and why.

    Args:
        planner: Finds footprints.
        rows: Rows of a micro-batch; 0 where they may be chosen as well.
    """
    target = planner.target
    usable = target.usable_bytes
    try:
        options = options_of(planner, only=rows)
    except Unknown as error:
        return Way("ddp", target.ranks), f"what it needs is not known ({error})"
    best = best_of(options, target)
    needs = needs_of(options)
    if best is None:
        way = min(needs, key=lambda option: needs[option])
        more = in_gib(needs[way])
        return way, f"it needs least, {more}, and still more than {target.name} has free"
    way = best[0].way
    words = [f"{in_gib(best[0].sizes[best[1]].total)} of {in_gib(usable or 0)} per device"]
    for other in (Way("ddp", target.ranks), Way(way.strategy, way.ranks, way.shards, NOTHING)):
        if other != way and other in needs and needs[other] > (usable or 0):
            words.append(f"{way_words(other)} would need {in_gib(needs[other])}")
    return way, "; ".join(words)


def strategy_of(way: Way) -> StepStrategy:
    """Makes the strategy of a way."""
    if not way.cuts:
        return DDP()
    return FSDP(
        replicas=way.ranks // way.shards,
        reshard_after_forward=way.reshard_after_forward,
        reduce_every_micro_batch=way.reduce_every_micro_batch,
        activation_checkpointing=way.recomputation.mode,
        checkpoint_every_blocks=way.recomputation.every_blocks,
    )
