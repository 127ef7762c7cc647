"""The memory of one device at the fullest moment of a step, by part, for a way to split the run.

What is exact: parameters, gradients, optimizer state and float32 copies, by the real builders. What
is found by running a micro-batch without numbers: everything that its forward and backward pass
make (`activations.py` says what that cannot see). What is a model of how torch works, not measured
on a GPU: the buffers of communication. DDP's gradients are views of its buckets, so these count
once, as gradients. FSDP2 has the block that computes and the next one gathered, keeps what is
outside of the blocks gathered, and turns the gradients of one block, whole, into a sum; summed only
after the last micro-batch, gradients lie whole on each device until then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from roots.networks import separable
from roots.plan.activations import (
    NOTHING,
    Conditions,
    Passage,
    Recomputation,
    Unknown,
    passage,
)
from roots.plan.beside import AVERAGE, COPY, average_bytes, companion_bytes, copy_bytes
from roots.plan.depth import DEPTHS, alike, cut_to, on_a_line
from roots.plan.held import Held, groups_of, held_by
from roots.plan.ledger import COPIES, GRADIENTS
from roots.plan.target import Target
from roots.strategies.shardable import POLICIES

PARAMETERS = "parameters"
STATE = "optimizer state"
MASTERS = "float32 weights"
COMMUNICATION = "communication"
STEP = "float32 gradients"

BACKWARD_PASS = "backward pass"
OPTIMIZER_STEP = "optimizer step"


@dataclass(frozen=True)
class Way:
    """A way to split a run.

    Args:
        strategy: `single_device`, `ddp`, `fsdp` or `hsdp`.
        ranks: Devices.
        shards: Over how many of them each weight is cut.
        recomputation: What blocks compute again.
        reshard_after_forward: As in `fsdp`.
        reduce_every_micro_batch: As in `fsdp`.
        cpu_offload: As in `fsdp`.
        tensor_parallel: As in `fsdp`; so many devices count as one, with a part of each layer.
        sharded_checkpoints: As in `fsdp`.
    """

    strategy: str
    ranks: int
    shards: int = 1
    recomputation: Recomputation = NOTHING
    reshard_after_forward: bool = True
    reduce_every_micro_batch: bool = False
    cpu_offload: bool = False
    tensor_parallel: int = 1
    sharded_checkpoints: bool = False

    @property
    def cuts(self) -> bool:
        """Whether weights are cut."""
        return self.strategy in ("fsdp", "hsdp")


@dataclass(frozen=True)
class Footprint:
    """Bytes on one device at the fullest moment of a step.

    Args:
        parts: By part.
        moment: When that is.
        sent: Bytes that one device sends in a step.
        crossing: Of them, what goes to devices of other machines, where a ring is not within one.
    """

    parts: dict[str, int]
    moment: str
    sent: int = 0
    crossing: int = 0

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(self.parts.values())


@dataclass
class Planner:
    """Finds footprints of one run on one kind of device; what was found once is kept.

    Args:
        model: The LightningModule, which has learned of its data.
        data: Its data.
        empty: Makes the network on the meta device, anew each time.
        precision: The precision plugin, which computes on the host.
        target: The devices.
        callbacks: Those of the run: some work with some strategies only, one keeps an average.
        saves_behind: Whether checkpoints are written behind the steps, from a copy on the host.
    """

    model: Any
    data: Any
    empty: Callable[[], Any]
    precision: Any
    target: Target
    callbacks: Sequence[Any] = ()
    saves_behind: bool = False
    _held: dict[int, Held] = field(default_factory=dict)
    _companions: dict[int, dict[str, int]] = field(default_factory=dict)
    _passages: dict[Any, Passage] = field(default_factory=dict)

    def share(self, ranks: int) -> int:
        """Rows of a step on one rank."""
        return -(-int(self.data.sequences_per_step) // ranks)

    def footprint(self, way: Way, rows: int, *, between: tuple[int, ...] = ()) -> Footprint:
        """Finds the footprint of a way with micro-batches of `rows` rows.

        Args:
            way: How the run is split.
            rows: Rows of a micro-batch.
            between: Two sizes that were run, between which others lie on a line; empty runs it.

        Raises:
            Unknown: The network cannot be run without numbers, or has weights of few bits.
        """
        self._check_countable()
        held, n_passes = self.held(way.shards), -(-self.share(way.ranks) // rows)
        held = held.on_the_host() if way.cpu_offload else held
        buffers = self._buffers(way, n_passes)
        gradients = held.gradients + buffers.whole_gradients
        there = way.strategy != "single_device" or n_passes > 1
        made = self._at_peak(way, rows, there=there, between=between)
        always = {PARAMETERS: held.parameters, STATE: held.state, MASTERS: held.masters}
        always |= self._beside(way, held)
        backward = {**always, COMMUNICATION: buffers.communication, **made}
        backward[GRADIENTS] = gradients if there else made.get(GRADIENTS, 0)
        step = {**always, GRADIENTS: held.gradients, STEP: held.step_gradients}
        step |= {COPIES: made.get(COPIES, 0)}
        crossing = buffers.sent - buffers.within if self.target.nodes > 1 else 0
        if sum(step.values()) > sum(backward.values()):
            return Footprint(_some(step), OPTIMIZER_STEP, buffers.sent, crossing)
        return Footprint(_some(backward), BACKWARD_PASS, buffers.sent, crossing)

    def host_copy(self, way: Way) -> int:
        """Counts the bytes that the first rank keeps on the host for what it saves."""
        if not self.saves_behind:
            return 0
        whole = self.held(1)
        part = self.held(way.shards) if way.cuts and way.sharded_checkpoints else whole
        return copy_bytes(self.model, self.callbacks, part, whole, gathers=way.cuts)

    def _beside(self, way: Way, held: Held) -> dict[str, int]:
        on_host = self.target.kind == "cpu"  # which is the device, then
        return {
            AVERAGE: average_bytes(self.callbacks, held),
            **self._companion(way.shards),
            COPY: self.host_copy(way) if on_host else 0,
        }

    def _companion(self, shards: int) -> dict[str, int]:
        if shards not in self._companions:
            found = companion_bytes(self.model, self.precision, shards=shards)
            self._companions[shards] = found
        return self._companions[shards]

    def _check_countable(self) -> None:
        """Raises Unknown for weights of few bits, which an empty network does not have."""
        if packs := self.model.builder.quantise:
            raise Unknown(f"quantise: {type(packs).__name__} packs weights when they are loaded")

    def held(self, shards: int) -> Held:
        """Finds what lies on a device between micro-batches."""
        if shards not in self._held:
            network, optimizer = self.empty(), self.model.optimizer_builder
            self._held[shards] = held_by(network, optimizer, self.precision, shards=shards)
        return self._held[shards]

    def _at_peak(
        self, way: Way, rows: int, *, there: bool, between: tuple[int, ...]
    ) -> dict[str, int]:
        if rows in between or not between or not there:
            return self._passage(way, rows, there=there).at_peak
        small, large = (self._passage(way, n, there=there).at_peak for n in between)
        return on_a_line(small, large, between, rows)

    def _passage(self, way: Way, rows: int, *, there: bool) -> Passage:
        gathered = self._policy.param_dtype if way.cuts else None
        key = (way.recomputation, gathered, rows, there)
        if key not in self._passages:
            how = Conditions(
                kind=self.target.kind,
                precision=self.precision,
                gathered=gathered,
                recomputation=way.recomputation,
                gradients_there=there,
            )
            self._passages[key] = self._run(rows, how)
        return self._passages[key]

    def _run(self, rows: int, how: Conditions) -> Passage:
        """Runs a micro-batch, of a deep network through some of its blocks, which are alike."""

        def through(depth: int) -> Passage:
            network = self.empty()
            cut_to(network, depth)
            return passage(self.model, self.data, network, rows, how)

        depth = alike(self.empty())
        if depth <= max(DEPTHS):
            return passage(self.model, self.data, self.empty(), rows, how)
        shallow, deeper = map(through, DEPTHS)
        kept = {"": shallow.kept_bytes}, {"": deeper.kept_bytes}
        at_peak = on_a_line(shallow.at_peak, deeper.at_peak, DEPTHS, depth)
        return Passage(on_a_line(*kept, DEPTHS, depth)[""], at_peak)

    @cached_property
    def _groups(self) -> tuple[tuple[int, list[int], int], torch.dtype]:
        network = self.empty()
        trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
        self.precision.convert_module(network)
        own = next(iter(network.parameters())).dtype
        return (*groups_of(network, separable(network)), trained), own

    @property
    def _policy(self) -> Any:
        return POLICIES[type(self.precision)]

    def _buffers(self, way: Way, n_passes: int) -> _Buffers:
        if not way.cuts:
            whole = self.held(1).gradients
            return _Buffers(sent=round(2 * whole * _others(way.ranks)))
        groups, own = self._groups
        gathers = (self._policy.param_dtype or own).itemsize
        sums = (self._policy.reduce_dtype or self._policy.param_dtype or own).itemsize
        return _sharded_buffers(way, n_passes, groups, gathers=gathers, sums=sums)


@dataclass(frozen=True)
class _Buffers:
    """What communication takes.

    Args:
        communication: Bytes of gathered weights and of gradients on their way.
        whole_gradients: Bytes of gradients that wait, whole, for the last micro-batch.
        sent: Bytes that one device sends in a step, around a ring.
        within: Of them, what stays in a ring that is within one machine.
    """

    communication: int = 0
    whole_gradients: int = 0
    sent: int = 0
    within: int = 0


def _sharded_buffers(
    way: Way, n_passes: int, groups: tuple[int, list[int], int], *, gathers: int, sums: int
) -> _Buffers:
    outside, blocks, trained = groups
    largest = max(blocks, default=0)
    gathered = outside + (2 * largest if way.reshard_after_forward else sum(blocks))
    on_their_way = gathers * min(outside + largest, trained) + sums * min(largest, trained)
    waits = n_passes > 1 and not way.reduce_every_micro_batch
    again = 2 if way.reshard_after_forward else 1
    gathers_sent = gathers * (outside + again * sum(blocks)) * n_passes
    sums_sent = sums * trained * (n_passes if way.reduce_every_micro_batch else 1)
    within = (gathers_sent + sums_sent) * _others(way.shards)
    between = 2 * sums * trained / way.shards * _others(way.ranks // way.shards)
    return _Buffers(
        communication=gathers * gathered + on_their_way,
        whole_gradients=sums * trained if waits else 0,
        sent=round(within + between),
        within=round(within) if way.strategy == "hsdp" else 0,
    )


def _others(ranks: int) -> float:
    """The share of a tensor that is on other ranks."""
    return (ranks - 1) / ranks


def _some(parts: dict[str, int]) -> dict[str, int]:
    return {name: n_bytes for name, n_bytes in parts.items() if n_bytes}
