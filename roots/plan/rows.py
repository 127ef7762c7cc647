"""How many rows of a micro-batch a plan lets fit."""

from __future__ import annotations

from roots.modules.micro_batch import USUAL_ROWS
from roots.plan.activations import Unknown
from roots.plan.footprint import Planner, Way
from roots.plan.options import sizes_for


def planned_rows(planner: Planner, way: Way) -> tuple[int, str]:
    """Gives the most rows that a plan lets fit, and why so many.

    Args:
        planner: Finds footprints.
        way: How the run is split.
    """
    target = planner.target
    share, usable = planner.share(target.ranks), target.usable_bytes
    if usable is None:
        return min(USUAL_ROWS, share), f"the usual: how much memory a {target.name} has is unknown"
    sizes = sizes_for(share)
    ends = (sizes[0], sizes[-1]) if len(sizes) > 1 else ()
    try:
        needs = {n: planner.footprint(way, n, between=ends).total for n in sizes}
    except Unknown as error:
        return min(USUAL_ROWS, share), f"the usual: {error}"
    gib = usable / 2**30
    fitting = [n for n in sizes if needs[n] <= usable]
    if not fitting:
        return 1, f"though the plan needs {needs[sizes[0]] / 2**30:,.1f} of {gib:,.1f} GiB"
    rows = fitting[-1]
    whole = ", all of a step on this rank" if rows == share else ""
    return rows, f"planned: {needs[rows] / 2**30:,.2f} of {gib:,.1f} GiB{whole}"
