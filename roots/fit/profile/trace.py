"""Reads a trace of torch's profiler: a Chrome trace, as `export_chrome_trace` writes it."""

from __future__ import annotations

import gzip
import json
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from roots.fit.profile.parts import OUTSIDE, STEP_RANGE, Place, placed

_ON_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")
_LAUNCHES = ("cuda_runtime", "cuda_driver")
_CUDA = 1  # c10::DeviceType


@dataclass(slots=True, eq=False)
class Event:
    """An operation or a range on the host; times are in microseconds.

    Args:
        name: Its name.
        start: When it began.
        end: When it ended.
        thread: The thread that it ran on.
        is_range: Whether it is a range, not an operation.
        node: For operations that autograd knows: (forward thread, sequence number); the thread is
            0 in the forward pass.
        shapes: The shapes of its inputs; empty where they were not recorded.
        place: The part that it belongs to.
        is_again: Whether it is the same call once more: autocast calls what it stands for.
    """

    name: str
    start: float
    end: float
    thread: int
    is_range: bool = False
    node: tuple[int, int] | None = None
    shapes: list[list[int]] = field(default_factory=list)
    place: Place = OUTSIDE
    is_again: bool = False


class Segment(NamedTuple):
    """A stretch of time in which `event` was the innermost on its thread; None where none was."""

    start: float
    end: float
    event: Event | None


class Kernel(NamedTuple):
    """Work on the device, and which event on the host launched it."""

    name: str
    start: float
    end: float
    launched_by: Event | None


class Allocation(NamedTuple):
    """An allocation, or with negative bytes a release, and the event that made it."""

    when: float
    address: int
    n_bytes: int
    event: Event | None


class Thread:
    """The events of one thread as a timeline without gaps or overlaps, from the first on."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.last_node: Event | None = None
        self._stack: list[Event] = []
        self._starts: list[float] = []
        self._reached = 0.0

    def open(self, event: Event) -> Event | None:
        """Goes on to the start of `event`; gives the event that it is nested in."""
        if not self.segments and not self._stack:
            self._reached = event.start
        self._close(event.start)
        around = self._stack[-1] if self._stack else None
        self._go_to(event.start)
        if around is not None:
            event.end = min(event.end, around.end)  # clocks are rounded
        self._stack.append(event)
        return around

    def finish(self) -> None:
        """Closes what is open."""
        self._close(float("inf"))
        self._starts = [segment.start for segment in self.segments]

    def at(self, when: float) -> Event | None:
        """Gives the innermost event of a moment."""
        index = bisect_right(self._starts, when) - 1
        if index < 0 or when >= self.segments[index].end:
            return None
        return self.segments[index].event

    def _close(self, until: float) -> None:
        while self._stack and self._stack[-1].end <= until:
            self._go_to(self._stack[-1].end)
            self._stack.pop()

    def _go_to(self, when: float) -> None:
        if when > self._reached:
            innermost = self._stack[-1] if self._stack else None
            self.segments.append(Segment(self._reached, when, innermost))
            self._reached = when


@dataclass
class Trace:
    """A trace whose events have their places.

    Args:
        events: Operations and ranges on the host, by their start.
        threads: The host's threads.
        kernels: Work on the device, by its start.
        allocations: In the order of time, those of the device that computes.
        steps: The ranges of the training steps, in order.
    """

    events: list[Event]
    threads: dict[int, Thread]
    kernels: list[Kernel]
    allocations: list[Allocation]
    steps: list[Event]

    @property
    def window(self) -> tuple[float, float]:
        """When the first step began and the last one ended."""
        return self.steps[0].start, self.steps[-1].end

    @property
    def main(self) -> Thread:
        """The thread that trains."""
        return self.threads[self.steps[0].thread]


def read_trace(path: Path) -> Trace:
    """Reads a trace file, packed or not."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        return understand(json.load(file)["traceEvents"])


def understand(rows: list[dict[str, Any]]) -> Trace:
    """Makes a trace of the rows of a trace file."""
    events = [_event(row) for row in rows if row.get("cat") in ("cpu_op", "user_annotation")]
    events.sort(key=lambda event: (event.start, -event.end))
    threads = _placed_on_threads(events, _links(rows, events))
    return Trace(
        events=events,
        threads=threads,
        kernels=_kernels(rows, threads),
        allocations=_allocations(rows, threads),
        steps=[event for event in events if event.name == STEP_RANGE],
    )


def _event(row: dict[str, Any]) -> Event:
    about = row.get("args", {})
    sequence = about.get("Sequence number")
    return Event(
        name=row["name"],
        start=row["ts"],
        end=row["ts"] + row["dur"],
        thread=row["tid"],
        is_range=row["cat"] == "user_annotation",
        node=None if sequence is None else (about.get("Fwd thread id", 0), sequence),
        shapes=about.get("Input Dims", []),
    )


def _links(rows: list[dict[str, Any]], events: list[Event]) -> dict[tuple[int, int], Event]:
    """Finds the forward operation of each node of the backward pass.

    The profiler draws an arrow from the operation that made a node to the node's run, by autograd's
    sequence numbers. The engine's event around that run has the same number, and no arrow.
    """
    at = {(event.thread, event.start): event for event in events}
    begins = {row["id"]: (row["tid"], row["ts"]) for row in _arrows(rows, "s")}
    links = {}
    for row in _arrows(rows, "f"):
        run, forward = at.get((row["tid"], row["ts"])), at.get(begins.get(row["id"], (0, 0)))
        if run is not None and run.node is not None and forward is not None:
            links[run.node] = forward
    return links


def _arrows(rows: list[dict[str, Any]], end: str) -> Iterable[dict[str, Any]]:
    return (row for row in rows if row.get("cat") == "fwdbwd" and row["ph"] == end)


def _placed_on_threads(
    events: list[Event], links: dict[tuple[int, int], Event]
) -> dict[int, Thread]:
    threads: dict[int, Thread] = {}
    for event in events:
        thread = threads.setdefault(event.thread, Thread())
        around = thread.open(event)
        event.is_again = around is not None and around.name == event.name
        made_by = links.get(event.node) if event.node is not None and event.node[0] else None
        event.place = placed(
            event.name,
            around.place if around is not None else OUTSIDE,
            is_range=event.is_range,
            forward=made_by.place if made_by is not None else None,
            before=thread.last_node.place if thread.last_node is not None else None,
        )
        if made_by is not None:
            thread.last_node = event
    for thread in threads.values():
        thread.finish()
    return threads


def _kernels(rows: list[dict[str, Any]], threads: dict[int, Thread]) -> list[Kernel]:
    launches = {
        row["args"]["correlation"]: (row["tid"], row["ts"])
        for row in rows
        if row.get("cat") in _LAUNCHES and "correlation" in row.get("args", {})
    }
    kernels = []
    for row in rows:
        if row.get("cat") in _ON_DEVICE:
            launch = launches.get(row["args"].get("correlation"))
            end = row["ts"] + row["dur"]
            kernels.append(Kernel(row["name"], row["ts"], end, _at(threads, launch)))
    return sorted(kernels, key=lambda kernel: kernel.start)


def _allocations(rows: list[dict[str, Any]], threads: dict[int, Thread]) -> list[Allocation]:
    found = [row for row in rows if row.get("name") == "[memory]"]
    on_device = [row for row in found if row["args"]["Device Type"] == _CUDA]
    made = [
        Allocation(
            row["ts"],
            row["args"]["Addr"],
            row["args"]["Bytes"],
            _at(threads, (row["tid"], row["ts"])),
        )
        for row in on_device or found
    ]
    return sorted(made, key=lambda allocation: allocation.when)


def _at(threads: dict[int, Thread], moment: tuple[int, float] | None) -> Event | None:
    if moment is None or moment[0] not in threads:
        return None
    return threads[moment[0]].at(moment[1])
