"""Footprints and options as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence

from roots.plan.footprint import Footprint, Way
from roots.plan.options import ORDER, Option, best_of
from roots.plan.target import Target

GIB = 2**30
MOST_COLUMNS = 8


def in_gib(n_bytes: int) -> str:
    """Words a size: `1.5 GiB`, `12 MiB`."""
    if n_bytes >= GIB:
        return f"{n_bytes / GIB:,.1f} GiB"
    return f"{n_bytes / 2**20:,.1f} MiB"


def footprint_words(footprint: Footprint, target: Target) -> str:
    """Lists the parts, the largest first, and says whether they fit."""
    parts = sorted(footprint.parts.items(), key=lambda item: -item[1])
    listed = ", ".join(f"{name} {in_gib(n)}" for name, n in parts)
    fullest = f"fullest in the {footprint.moment}"
    return f"{in_gib(footprint.total)} per device, {fullest}: {listed}{_fits(footprint, target)}"


def _fits(footprint: Footprint, target: Target) -> str:
    usable = target.usable_bytes
    if usable is None:
        return ""
    if footprint.total <= usable:
        return f"; fits into {in_gib(usable)} of {target.name}"
    return f"; does NOT fit into {in_gib(usable)} of {target.name}"


def way_words(way: Way) -> str:
    """Names a way as a person would set it."""
    words = [way.strategy]
    if way.tensor_parallel > 1:
        words.append(f"tensor_parallel {way.tensor_parallel}")
    if way.recomputation.mode != "none":
        words.append(f"activation_checkpointing {way.recomputation.mode}")
    if way.reduce_every_micro_batch:
        words.append("reduce_every_micro_batch")
    if way.cpu_offload:
        words.append("cpu_offload")
    return ", ".join(words)


def table_of(options: Sequence[Option], target: Target, *, also: int = 0) -> str:
    """Lays options out as a table: a way in each row, sizes of micro-batches in the columns.

    Args:
        options: The ways.
        target: The devices.
        also: The rows of the run, which have a column in any case.
    """
    sizes = _columns(options, target.usable_bytes, also)
    unit, letter = _unit(options)
    names = ["", *(way_words(option.way) for option in options)]
    width = max(map(len, names))
    lines = [f"  {'':<{width}}" + "".join(f"{n:>10}" for n in sizes) + f"{'sent per step':>16}"]
    for option in options:
        if option.refused:
            lines.append(f"  {way_words(option.way):<{width}}  refused: {option.refused}")
            continue
        cells = "".join(_cell(option.sizes.get(n), unit, target.usable_bytes) for n in sizes)
        rows = option.largest(target.usable_bytes) or max(option.sizes)
        sent = in_gib(option.sizes[rows].sent)
        lines.append(f"  {way_words(option.way):<{width}}{cells}{sent:>16}")
    head = f"memory per device in {letter}, by rows of a micro-batch; (in brackets) does not fit"
    return "\n".join([head, *lines, ORDER, _best(options, target)])


def _columns(options: Sequence[Option], usable: int | None, also: int) -> list[int]:
    """Chooses sizes to show: a row, the run's, a step's, the largest that fit, and small ones."""
    sizes = sorted({n for option in options for n in option.sizes})
    telling = [*sizes[:1], also, *sizes[-1:], *(option.largest(usable) for option in options)]
    known = [n for n in dict.fromkeys([*telling, *sizes]) if n in sizes]
    return sorted(known[:MOST_COLUMNS])


def _unit(options: Sequence[Option]) -> tuple[int, str]:
    largest = max((f.total for o in options for f in o.sizes.values()), default=GIB)
    return (GIB, "GiB") if largest >= GIB else (2**20, "MiB")


def _cell(footprint: Footprint | None, unit: int, usable: int | None) -> str:
    if footprint is None:
        return f"{'':>10}"
    number = f"{footprint.total / unit:,.1f}"
    fits = usable is None or footprint.total <= usable
    return f"{number if fits else f'({number})':>10}"


def _best(options: Sequence[Option], target: Target) -> str:
    best = best_of(options, target)
    if best is None:
        assert target.usable_bytes is not None
        return (
            f"Nothing fits into {in_gib(target.usable_bytes)} of {target.name}: take more devices,"
            " larger ones, shorter rows or a smaller network."
        )
    option, rows = best
    return f"best: {way_words(option.way)}, micro_batch_size {rows}"
