"""Adds a trace up: every stretch of the steps belongs to one part, and the sums say so."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from roots.fit.profile.flops import flops_of
from roots.fit.profile.parts import (
    COMMUNICATION,
    DATA,
    HOST,
    OUTSIDE,
    PARTS,
    Place,
    is_communication,
)
from roots.fit.profile.trace import Allocation, Event, Kernel, Segment, Trace

SLOWEST = 12
"""Operations that are listed by themselves."""


class Entry(NamedTuple):
    """What a stretch of time is booked on."""

    part: str
    phase: str
    operation: str


class Stretch(NamedTuple):
    """A stretch of time, in microseconds, and what it would be booked on."""

    start: float
    end: float
    entry: Entry


@dataclass(frozen=True)
class Operation:
    """An operation of a part, over all its calls.

    Args:
        name: The profiler's name of the operation or kernel.
        part: The part that it belongs to.
        phase: forward, backward or step.
        seconds: Own time per step, without that of what is nested in it.
        calls: Calls per step.
    """

    name: str
    part: str
    phase: str
    seconds: float
    calls: float


@dataclass(frozen=True)
class Books:
    """Where the time and the memory of a step go; times, calls and FLOPs are means per step.

    Args:
        n_steps: Steps that were profiled.
        wall_seconds: From one step's begin to the next one's.
        fastest_seconds: The shortest step, by the host's clock.
        slowest_seconds: The longest.
        seconds: By part and phase.
        flops: Floating-point operations of products, by part.
        peak_bytes: Largest memory in use at one time.
        held_bytes: Of it, what is there between steps: weights and optimizer state.
        bytes_at_peak: Of it, what was made within the step, by the part that made it.
        slowest: The operations that take longest.
    """

    n_steps: int
    wall_seconds: float
    fastest_seconds: float
    slowest_seconds: float
    seconds: dict[tuple[str, str], float]
    flops: dict[str, int]
    peak_bytes: int
    held_bytes: int
    bytes_at_peak: dict[str, int]
    slowest: list[Operation]

    def of_part(self, part: str) -> float:
        """Seconds of a part over all phases."""
        return sum(s for (name, _), s in self.seconds.items() if name == part)

    def of_phase(self, phase: str) -> float:
        """Seconds of a phase over all parts."""
        return sum(s for (_, name), s in self.seconds.items() if name == phase)

    @property
    def unattributed_seconds(self) -> float:
        """What the parts leave of the wall time."""
        return self.wall_seconds - sum(self.of_part(part) for part in PARTS)

    @property
    def unattributed_bytes(self) -> int:
        """What the parts and what is held leave of the peak."""
        return self.peak_bytes - self.held_bytes - sum(self.bytes_at_peak.values())


def balance(trace: Trace, details: Trace, *, held_bytes: int, device_peak_bytes: int = 0) -> Books:
    """Adds up the steps of a trace.

    Where a device computes, a moment belongs to the kernel that runs then; communication only gets
    the moments in which nothing else runs, and the host those in which the device is idle.

    Args:
        trace: Where the times are taken from.
        details: A trace with shapes and memory; it may be of other steps.
        held_bytes: What lay in memory when the first of these began.
        device_peak_bytes: The peak as the device's allocator counted it; 0 takes the trace's.
    """
    start, end = trace.window
    n_steps = len(trace.steps)
    by_entry = _seconds(trace)
    times: defaultdict[tuple[str, str], float] = defaultdict(float)
    for entry, seconds in by_entry.items():
        times[entry.part, entry.phase] += seconds
    at_peak = memory_at_peak(details.allocations)
    durations = [(step.end - step.start) * 1e-6 for step in trace.steps]
    return Books(
        n_steps=n_steps,
        wall_seconds=(end - start) * 1e-6 / n_steps,
        fastest_seconds=min(durations),
        slowest_seconds=max(durations),
        seconds=dict(times),
        flops=_flops(details),
        peak_bytes=device_peak_bytes or held_bytes + sum(at_peak.values()),
        held_bytes=held_bytes,
        bytes_at_peak=at_peak,
        slowest=_slowest(trace, by_entry),
    )


def _seconds(trace: Trace) -> dict[Entry, float]:
    seconds: defaultdict[Entry, float] = defaultdict(float)
    for stretch in _booked(trace):
        seconds[stretch.entry] += (stretch.end - stretch.start) * 1e-6 / len(trace.steps)
    return seconds


def _slowest(trace: Trace, by_entry: dict[Entry, float]) -> list[Operation]:
    calls = _calls(trace)
    named = [entry for entry in by_entry if entry.operation]
    return [
        Operation(e.operation, e.part, e.phase, by_entry[e], calls[e] / len(trace.steps))
        for e in heapq.nlargest(SLOWEST, named, key=by_entry.__getitem__)
    ]


def _booked(trace: Trace) -> list[Stretch]:
    free = [trace.window]
    on_host = trace.main.segments
    if not trace.kernels:
        return claim(free, [_by_itself(segment) for segment in on_host])[0]
    apart = [kernel for kernel in trace.kernels if is_communication(kernel.name)]
    compute = [kernel for kernel in trace.kernels if not is_communication(kernel.name)]
    booked = []
    for wanted in (_on_device(compute), _on_device(apart), [_idle(s) for s in on_host]):
        taken, free = claim(free, wanted)
        booked += taken
    return booked


def claim(
    free: Iterable[tuple[float, float]], wanted: Sequence[Stretch]
) -> tuple[list[Stretch], list[tuple[float, float]]]:
    """Books free time; where several want a moment, it goes to the one that began first.

    Args:
        free: Gaps in the order of time, which do not overlap.
        wanted: Stretches by their start, which may.

    Returns:
        What was booked, and what is still free; their lengths add up to the free time.
    """
    taken, left, index = [], [], 0
    for start, end in free:
        at = start
        while index < len(wanted) and wanted[index].start < end:
            want = wanted[index]
            begin, stop = max(want.start, at), min(want.end, end)
            if stop > begin:
                left += [(at, begin)] if begin > at else []
                taken.append(Stretch(begin, stop, want.entry))
                at = stop
            if want.end > end:
                break  # it goes on behind this gap
            index += 1
        left += [(at, end)] if end > at else []
    return taken, left


def _by_itself(segment: Segment) -> Stretch:
    event = segment.event
    place = event.place if event is not None else OUTSIDE
    name = event.name if event is not None and place.works else ""
    return Stretch(segment.start, segment.end, Entry(place.own_part, place.phase, name))


def _on_device(kernels: list[Kernel]) -> list[Stretch]:
    return [Stretch(kernel.start, kernel.end, _entry_of(kernel)) for kernel in kernels]


def _entry_of(kernel: Kernel) -> Entry:
    place = _place(kernel.launched_by)
    part = COMMUNICATION if is_communication(kernel.name) else place.part
    return Entry(part, place.phase, kernel.name)


def _idle(segment: Segment) -> Stretch:
    place = _place(segment.event)
    part = DATA if place.part == DATA else HOST
    return Stretch(segment.start, segment.end, Entry(part, place.phase, ""))


def _place(event: Event | None) -> Place:
    return event.place if event is not None else OUTSIDE


def _calls(trace: Trace) -> Counter[Entry]:
    start, end = trace.window
    if trace.kernels:
        return Counter(_entry_of(kernel) for kernel in trace.kernels if start <= kernel.start < end)
    return Counter(
        Entry(event.place.part, event.place.phase, event.name)
        for event in trace.events
        if event.place.works and not event.is_again and start <= event.start < end
    )


def _flops(trace: Trace) -> dict[str, int]:
    start, end = trace.window
    flops: Counter[str] = Counter()
    for event in trace.events:
        if event.shapes and not event.is_again and start <= event.start < end:
            flops[event.place.part] += flops_of(event.name, event.shapes)
    return {part: n // len(trace.steps) for part, n in flops.items() if n}


def memory_at_peak(allocations: Iterable[Allocation]) -> dict[str, int]:
    """Gives the bytes in use at their peak, by the part that allocated them.

    A release of what was allocated before the first of `allocations` counts for nothing.
    """
    history = list(allocations)
    sizes: dict[int, int] = {}
    used, peak, peak_index = 0, 0, -1
    for index, allocation in enumerate(history):
        used += _change(sizes, allocation)
        if used > peak:
            peak, peak_index = used, index
    live: dict[int, Allocation] = {}
    for allocation in history[: peak_index + 1]:
        live.pop(allocation.address, None)
        if allocation.n_bytes > 0:
            live[allocation.address] = allocation
    at_peak: Counter[str] = Counter()
    for allocation in live.values():
        at_peak[_place(allocation.event).part] += allocation.n_bytes
    return {part: n for part, n in at_peak.items() if n}


def _change(sizes: dict[int, int], allocation: Allocation) -> int:
    before = sizes.pop(allocation.address, 0)
    if allocation.n_bytes <= 0:
        return -before
    sizes[allocation.address] = allocation.n_bytes
    return allocation.n_bytes - before
