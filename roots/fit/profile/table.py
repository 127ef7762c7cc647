"""The books as a table, and as plain values for other programs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from roots.fit.profile.books import Books
from roots.fit.profile.parts import (
    ATTENTION,
    COMMUNICATION,
    COMPILED,
    HOST,
    LOSS,
    OPTIMIZER,
    PARTS,
    PHASES,
    PRODUCTS,
    SOMETIMES,
)

MIB = 2**20
_WITH_RATE = (ATTENTION, LOSS, PRODUCTS)
_NOTES = {
    ATTENTION: "scores and values, without the linear layers around them; GFLOP/s as if not causal",
    LOSS: "the last projection and the loss",
    PRODUCTS: "all other linear layers",
    COMPILED: "fused kernels of compiled code, which hold work of several parts; in compiled code"
    " attention and products are told by the names of operations",
    OPTIMIZER: "its step, and setting the gradients to zero",
}
_HOST_ON_CPU = "Python between operations, made longer by the profiler"
_HOST_ON_DEVICE = "the device is idle and waits for the host"


@dataclass(frozen=True)
class Report:
    """What is told of a profile.

    Args:
        name: The run's name.
        device: Where it computed, in words.
        on_device: Whether times are those of a GPU's kernels.
        tokens_per_step: Input tokens of a step over all ranks.
        plain_seconds: A step without the profiler.
        profiled_seconds: A step with it, by the same clock.
        books: Where they go.
    """

    name: str
    device: str
    on_device: bool
    tokens_per_step: int
    plain_seconds: float
    profiled_seconds: float
    books: Books

    @property
    def shown(self) -> list[str]:
        """The parts to show: all but those that only some runs have."""
        has = {*(part for part, _ in self.books.seconds), *self.books.bytes_at_peak}
        return [part for part in PARTS if part not in SOMETIMES or part in has]

    def __str__(self) -> str:
        """Lays out the table, what it means, the rates and the slowest operations."""
        return "\n\n".join(
            ["\n".join(_table(self)), "\n".join(_notes(self)), _rates(self), _slowest(self)]
        )


def plain_report(report: Report) -> dict[str, Any]:
    """Gives the report as plain values; times are seconds per step."""
    books = report.books
    parts = {
        part: {
            **{phase: books.seconds.get((part, phase), 0.0) for phase in PHASES},
            "share": books.of_part(part) / books.wall_seconds,
            "flops": books.flops.get(part, 0),
            "bytes_at_peak": books.bytes_at_peak.get(part, 0),
        }
        for part in report.shown
    }
    return {
        "name": report.name,
        "device": report.device,
        "steps": books.n_steps,
        "tokens_per_step": report.tokens_per_step,
        "tokens_per_second": report.tokens_per_step / report.plain_seconds,
        "tokens_per_second_profiled": report.tokens_per_step / report.profiled_seconds,
        "step_seconds": books.wall_seconds,
        "step_seconds_fastest": books.fastest_seconds,
        "step_seconds_slowest": books.slowest_seconds,
        "unattributed_seconds": books.unattributed_seconds,
        "parts": parts,
        "peak_bytes": books.peak_bytes,
        "held_bytes": books.held_bytes,
        "unattributed_bytes": books.unattributed_bytes,
        "slowest_operations": [asdict(operation) for operation in books.slowest],
    }


def _table(report: Report) -> list[str]:
    books = report.books
    head = ("part", *(f"{phase} ms" for phase in PHASES), "ms", "share", "GFLOP/s", "MiB at peak")
    rows = [_row_of_part(books, part) for part in report.shown]
    unattributed = [""] * len(PHASES)
    rest = books.unattributed_seconds
    rows.append(
        (
            "unattributed",
            *unattributed,
            _ms(rest),
            _share(rest, books),
            "",
            _mib(books.unattributed_bytes),
        )
    )
    rows.append(("weights, optimizer state", *unattributed, "", "", "", _mib(books.held_bytes)))
    phases = [_ms(books.of_phase(phase)) for phase in PHASES]
    wall = books.wall_seconds
    total = ("step", *phases, _ms(wall), _share(wall, books), "", _mib(books.peak_bytes))
    lines = _aligned([head, *rows, total])
    rule = "-" * max(len(line) for line in lines)
    return [lines[0], rule, *lines[1:-1], rule, lines[-1]]


def _row_of_part(books: Books, part: str) -> tuple[str, ...]:
    seconds, flops = books.of_part(part), books.flops.get(part, 0)
    rate = f"{flops / seconds / 1e9:,.0f}" if part in _WITH_RATE and flops and seconds else ""
    return (
        part,
        *(_ms(books.seconds.get((part, phase), 0.0)) for phase in PHASES),
        _ms(seconds),
        _share(seconds, books),
        rate,
        _mib(books.bytes_at_peak.get(part, 0)),
    )


def _notes(report: Report) -> list[str]:
    host = _HOST_ON_DEVICE if report.on_device else _HOST_ON_CPU
    if COMMUNICATION in report.shown:
        host += "; waiting for other ranks"
    notes = {**_NOTES, HOST: host}
    lines = [f"{part}: {notes[part]}" for part in report.shown if part in notes]
    memory = "the allocator's peak" if report.on_device else "tensors, not the whole process"
    lines.append(f"MiB at peak: what each part had allocated then ({memory})")
    return [textwrap.fill(line, width=100, subsequent_indent="  ") for line in lines]


def _rates(report: Report) -> str:
    books = report.books
    plain, profiled = report.plain_seconds, report.profiled_seconds
    tokens = report.tokens_per_step
    return (
        f"without the profiler  {tokens / plain:>11,.0f} tokens/s  {plain * 1e3:,.1f} ms/step\n"
        f"with it               {tokens / profiled:>11,.0f} tokens/s "
        f" {profiled * 1e3:,.1f} ms/step ({_longer(profiled, plain)}; its"
        f" {books.n_steps} steps took {books.fastest_seconds * 1e3:,.1f} to"
        f" {books.slowest_seconds * 1e3:,.1f} ms)"
    )


def _slowest(report: Report) -> str:
    rows = [("slowest operations", "part", "phase", "ms/step", "share", "calls/step")]
    rows += [
        (
            operation.name if len(operation.name) <= 60 else operation.name[:57] + "...",
            operation.part,
            operation.phase,
            _ms(operation.seconds),
            _share(operation.seconds, report.books),
            f"{operation.calls:,.1f}",
        )
        for operation in report.books.slowest
    ]
    return "\n".join(_aligned(rows, n_words=3))


def _aligned(rows: Sequence[tuple[str, ...]], n_words: int = 1) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column < n_words else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _longer(profiled: float, plain: float) -> str:
    return f"{round((profiled / plain - 1) * 100) + 0:+d} %"


def _ms(seconds: float) -> str:
    return f"{round(seconds * 1e3, 2) + 0.0:,.2f}"  # no minus before a zero


def _share(seconds: float, books: Books) -> str:
    return f"{round(seconds / books.wall_seconds * 100, 1) + 0.0:.1f} %"


def _mib(n_bytes: int) -> str:
    return f"{n_bytes / MIB:,.1f}"
