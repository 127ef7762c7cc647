"""What lies in memory beside the network that is trained: an average, a teacher, a copy to save."""

from __future__ import annotations

from typing import Any

from roots.callbacks import WeightAverage
from roots.plan.held import Held

AVERAGE = "average of the weights"
TEACHER = "teacher"
COPY = "copy to save"


def average_bytes(callbacks: Any, held: Held) -> int:
    """Counts the float32 average of the weights that are trained, where a callback keeps one."""
    return (held.masters or held.gradients) if _average(callbacks) else 0  # as large: float32 too


def teacher_bytes(model: Any, precision: Any) -> int:
    """Counts a teacher's weights, whole on each device."""
    if model.distiller is None:
        return 0
    teacher = precision.convert_module(model.distiller.empty(model))
    return sum(t.numel() * t.dtype.itemsize for t in (*teacher.parameters(), *teacher.buffers()))


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
