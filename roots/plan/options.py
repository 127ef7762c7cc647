"""Ways to split a run over its devices, which of them fit, and which is best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from roots.errors import ConfigError
from roots.modules.building import check_together
from roots.plan.activations import Recomputation
from roots.plan.footprint import Footprint, Planner, Way
from roots.plan.target import Target
from roots.strategies import DDP, FSDP, SingleDevice

ORDER = (
    "Best first, each way with its largest micro-batch that fits: what sends gradients alone"
    " (single_device, ddp), then what sends least in a step (between machines, then in all), then"
    " what computes least again, then the largest micro-batch."
)
MODES = ("none", "selective", "full")


@dataclass(frozen=True)
class Option:
    """A way to split a run.

    Args:
        way: The way.
        sizes: Its footprint by the rows of a micro-batch.
        refused: Why it cannot be run at all; empty where it can.
    """

    way: Way
    sizes: dict[int, Footprint] = field(default_factory=dict)
    refused: str = ""

    def largest(self, usable: int | None) -> int:
        """Gives the most rows that fit into `usable` bytes; 0 where not one does."""
        fitting = (n for n, f in self.sizes.items() if usable is None or f.total <= usable)
        return max(fitting, default=0)


def options_of(planner: Planner, *, also: int = 0, only: int = 0) -> list[Option]:
    """Finds every way to split a run over the planner's devices, best first.

    Args:
        planner: Finds footprints.
        also: Rows of a micro-batch to look at beside powers of two.
        only: The rows of a micro-batch, where they are given.

    Raises:
        Unknown: The network cannot be run without numbers.
    """
    ways = list(_ways(planner))
    share = planner.share(planner.target.ranks)
    sizes = [min(only, share)] if only else sizes_for(share, also)
    options = [_option(planner, way, sizes) for way in ways]
    usable = planner.target.usable_bytes
    return sorted(options, key=lambda option: _rank(option, usable))


def _rank(option: Option, usable: int | None) -> tuple[float, ...]:
    rows = option.largest(usable)
    if option.refused or not rows:
        return (2 if option.refused else 1,)
    best = option.sizes[rows]
    again = MODES.index(option.way.recomputation.mode)
    return (0, option.way.cuts, best.crossing, best.sent, again, -rows)


def best_of(options: Sequence[Option], target: Target) -> tuple[Option, int] | None:
    """Gives the best option that fits and its largest micro-batch; None where none fits."""
    for option in options:
        if rows := option.largest(target.usable_bytes):
            return option, rows
    return None


def needs_of(options: Sequence[Option]) -> dict[Way, int]:
    """Gives the least that each way needs that is not refused, in bytes."""
    return {o.way: min(f.total for f in o.sizes.values()) for o in options if not o.refused}


def taken(options: Sequence[Option], target: Target) -> Way | None:
    """Gives the way that a run takes: the best that fits, else on GPUs that which needs least."""
    if best := best_of(options, target):
        return best[0].way
    needs = needs_of(options)
    return min(needs, key=lambda way: needs[way]) if needs and target.kind == "cuda" else None


def sizes_for(share: int, also: int = 0) -> list[int]:
    """Gives sizes of micro-batches to look at: powers of two up to the share, and the share.

    Args:
        share: Rows of a step on one rank.
        also: One more size, if it is not above the share.
    """
    sizes = {2**n for n in range(share.bit_length()) if 2**n <= share} | {share}
    return sorted(sizes | ({also} if 0 < also <= share else set()))


def _ways(planner: Planner) -> Iterator[Way]:
    """Lists the ways for so many devices, best first."""
    ranks, nodes = planner.target.ranks, planner.target.nodes
    if ranks == 1:
        yield Way("single_device", 1)
    else:
        yield Way("ddp", ranks)
    several = planner.share(ranks) > 1
    for strategy, shards in (("hsdp", ranks // nodes), ("fsdp", ranks)):
        if strategy == "hsdp" and (nodes == 1 or shards == 1):
            continue
        for mode in MODES:
            if ranks == 1 and mode == "none":
                continue  # one device cuts nothing
            for often in (False, True) if several and ranks > 1 else (False,):
                yield Way(
                    strategy,
                    ranks,
                    shards,
                    Recomputation(mode),
                    reduce_every_micro_batch=often,
                )


def _option(planner: Planner, way: Way, sizes: list[int]) -> Option:
    if refused := refusal(planner, way):
        return Option(way, refused=refused)
    ends = (sizes[0], sizes[-1]) if len(sizes) > 1 else ()
    found = {n: planner.footprint(way, n, between=ends) for n in sizes}
    return Option(way, found)


def refusal(planner: Planner, way: Way) -> str:
    """Says why a run cannot be split so; empty where it can."""
    strategies: dict[str, Any] = {"single_device": SingleDevice, "ddp": DDP}
    strategy = strategies.get(way.strategy, FSDP)()
    trainer = SimpleNamespace(
        strategy=strategy, precision_plugin=planner.precision, callbacks=planner.callbacks
    )
    try:
        check_together(planner.model, trainer)
    except ConfigError as error:
        return str(error)
    return ""
