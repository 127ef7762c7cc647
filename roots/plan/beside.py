"""What lies in memory beside the network that is trained: an average, a companion, a copy."""

from __future__ import annotations

from typing import Any

from roots.callbacks import WeightAverage
from roots.plan.held import Held, part_of, size_of

AVERAGE = "average of the weights"
COPY = "copy to save"


def average_bytes(callbacks: Any, held: Held) -> int:
    """Counts the float32 average of the weights that are trained, where a callback keeps one."""
    return (held.masters or held.gradients) if _average(callbacks) else 0  # as large: float32 too


def companion_bytes(model: Any, precision: Any, *, shards: int = 1) -> dict[str, int]:
    """Counts the weights of a teacher or a reference on each device, by what it is called.

    Args:
        model: The LightningModule, which has learned of its data.
        precision: Says in which format weights lie.
        shards: Over how many devices the network is cut; a teacher is whole on each.
    """
    companion = model.companion
    network = companion.empty(model) if companion else None
    if network is None:
        return {}
    precision.convert_module(network)
    parts = [part_of(p, shards if companion.is_cut_too else 1) for p in network.parameters()]
    return {companion.name: size_of([*parts, *network.buffers()])}


def copy_bytes(model: Any, callbacks: Any, part: Held, whole: Held, *, gathers: bool) -> int:
    """Counts what the first rank keeps on the host, to write a checkpoint behind the steps.

    Args:
        model: The LightningModule; below an adapter, only what is trained is saved.
        callbacks: Those of the run; the average of one is saved as well.
        part: What this rank writes of the state to resume from.
        whole: What a device has that holds all.
        gathers: Weights are gathered twice, for the state and for the folder to use.
    """

    def weights(held: Held) -> int:
        return held.gradients if model.builder.adapter else held.parameters - held.buffers

    average = _average(callbacks)
    state = weights(part) + part.state + part.masters + average_bytes(callbacks, part)
    again = gathers or (average is not None and average.use)
    return state + (weights(whole) if again else 0)


def _average(callbacks: Any) -> WeightAverage | None:
    return next((c for c in callbacks if isinstance(c, WeightAverage)), None)
