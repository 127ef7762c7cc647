"""Which part of a training step, and which phase, an event of a trace belongs to.

Three sources, in this order: the innermost range that `ranges` put around a call; for an operation
of the backward pass the forward operation that it belongs to (autograd's sequence numbers); the
name of the operation, in what no range cuts finer, such as a compiled region.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

ATTENTION = "attention"
LOSS = "projection and loss"
PRODUCTS = "other products"
REST = "norms, elementwise, rest"
COMPILED = "compiled, not attributable"
OPTIMIZER = "optimizer"
CLIPPING = "clipping"
COMMUNICATION = "communication"
DATA = "data"
HOST = "host"

PARTS = (
    ATTENTION,
    LOSS,
    PRODUCTS,
    REST,
    COMPILED,
    OPTIMIZER,
    CLIPPING,
    COMMUNICATION,
    DATA,
    HOST,
)
"""The parts, in the order of the table."""

SOMETIMES = (COMPILED, COMMUNICATION)
"""Parts that are shown only where a run has them."""

PHASES = ("forward", "backward", "step")
"""`step` is all that is neither forward nor backward."""

BACKWARD_RANGE = "backward"
STEP_RANGE = "training step"

_OF_THE_NETWORK = (ATTENTION, LOSS, PRODUCTS, REST)
_OF_THE_STEP = (OPTIMIZER, CLIPPING, DATA)
_ENGINE = "autograd::engine::evaluate_function: "
_ACCUMULATE = "torch::autograd::AccumulateGrad"
_FUSED = "## Call CompiledFxGraph"
_ATTENTION_NAMES = re.compile(
    r"scaled_dot_product|flash_att|efficient_attention|flex_attention|tiled_attention"
)
_PRODUCT_NAMES = re.compile(
    r"^(aten|mkldnn|mkl)::_?(linear|addmm|mm|addbmm|baddbmm|bmm|matmul|scaled_mm|grouped_mm"
    r"|scaled_grouped_mm|mkl_linear|linear_pointwise|convolution)_?(_backward)?$"
)
_COMMUNICATION_NAMES = re.compile(r"^(c10d::|_c10d_functional::|nccl|gloo:|record_param_comms)")
_COMPILERS_OWN = re.compile(
    r"^(TorchDynamo|Torch-Compiled|AOTDispatcher|Pregraph|CompiledFunction)"
)
"""What the runtime of compiled code does in Python, between the kernels."""


@dataclass(frozen=True)
class Place:
    """Where an event belongs.

    Args:
        part: The part of the step that its operations belong to.
        phase: One of `PHASES`.
        is_open: Whether the names of operations may cut the part finer.
        works: Whether the event's own time is work of the part; it is the host's where the event
            only surrounds operations with Python.
    """

    part: str
    phase: str
    is_open: bool = False
    works: bool = True

    @property
    def own_part(self) -> str:
        """The part that the event's own time belongs to, apart from what is nested in it."""
        return self.part if self.works else HOST


OUTSIDE = Place(REST, "step", is_open=True, works=False)
"""Where events are that no range surrounds."""


def placed(
    name: str, around: Place, *, is_range: bool, forward: Place | None, before: Place | None
) -> Place:
    """Places an event.

    Args:
        name: The event's name.
        around: The place of the event that it is nested in.
        is_range: Whether it is a range, not an operation.
        forward: For a node of the backward pass, the place of its forward operation.
        before: The place of the last node of the backward pass on this thread.
    """
    if name.startswith(_FUSED):  # a range or an operation, as the profiler is set
        return replace(around, part=COMPILED if around.is_open else around.part, works=True)
    if is_range:
        return _of_range(name, around)
    if forward is not None:
        return replace(forward, phase="backward", works=not _COMPILERS_OWN.match(name))
    if name == _ENGINE + _ACCUMULATE and before is not None:
        return replace(before, works=True)  # it adds up what the node before it made
    if name.startswith(_ENGINE):
        return Place(REST, "backward", is_open=True)
    return _of_operation(name, around)


def _of_range(name: str, around: Place) -> Place:
    if name == BACKWARD_RANGE:
        return Place(REST, "backward", is_open=True, works=False)
    if name in _OF_THE_NETWORK:
        phase = "backward" if around.phase == "backward" else "forward"  # recomputed activations
        return Place(name, phase, is_open=name == REST, works=False)
    if name in _OF_THE_STEP:
        return Place(name, "step")
    return replace(around, works=around.part in _OF_THE_STEP)


def _of_operation(name: str, around: Place) -> Place:
    if _COMMUNICATION_NAMES.match(name):
        return Place(COMMUNICATION, around.phase)
    if _COMPILERS_OWN.match(name):
        return replace(around, works=False)
    if around.is_open and _ATTENTION_NAMES.search(name):
        return Place(ATTENTION, around.phase)
    if around.is_open and _PRODUCT_NAMES.match(name):
        return Place(PRODUCTS, around.phase)
    return replace(around, works=True)


def is_communication(kernel: str) -> bool:
    """Tells whether a kernel moves data between ranks."""
    return bool(_COMMUNICATION_NAMES.match(kernel))
