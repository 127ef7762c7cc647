"""The parts of a cross-validation: every row is in one of them, and held out once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from roots.errors import ConfigError
from roots.sources.rows.held_out import check_items, grouped, place


def fold_of_rows(
    n_rows: int,
    *,
    folds: int,
    seed: int,
    by: Sequence[str] | None = None,
    strata: Sequence[Hashable] | None = None,
) -> list[int]:
    """Divides the rows 0 … `n_rows` - 1 into so many parts of equal size and equal classes.

    The groups of a class are dealt out, the largest first and equal ones by a hash of (seed, name):
    each to the fold that has the fewest rows of this class, of equal ones the fewest of all. Where
    each row is its own group, the rows of a class and those of all differ between two folds by one
    at most. With `by` the division is a function of the seed and of what the rows hold, whatever
    their order.

    Args:
        n_rows: How many rows there are.
        folds: How many parts, at least 2.
        seed: Another seed gives another division.
        by: The group of each row, which stays together. Without it each row is its own.
        strata: The class of each row. A group is of the class of its first row.

    Returns:
        The fold of each row, from 1.

    Raises:
        ConfigError: A fold would lack a class, or a list has not `n_rows` items.
    """
    check_items(n_rows, by=by, strata=strata)
    groups = grouped(n_rows, by)
    order = sorted(groups, key=lambda name: (-len(groups[name]), place(name, seed), name))
    layers: dict[Hashable, list[str]] = {}
    for name in order:
        layers.setdefault(None if strata is None else strata[groups[name][0]], []).append(name)
    found, sizes = [0] * n_rows, [0] * folds
    for kind, names in layers.items():
        _check(kind, names, folds, sum(len(groups[name]) for name in names))
        of_class = [0] * folds
        for name in names:
            fold = min(range(folds), key=lambda n: (of_class[n], sizes[n]))
            of_class[fold] += len(groups[name])
            sizes[fold] += len(groups[name])
            for row in groups[name]:
                found[row] = fold + 1
    return found


def _check(kind: Hashable, names: Sequence[str], folds: int, n_rows: int) -> None:
    if len(names) >= folds:
        return
    whose = "" if kind is None else f" of the class {kind!r}"
    fewer = f"Set folds to at most {len(names)}, or give" if len(names) > 1 else "Give"
    raise ConfigError(
        f"{folds} folds need as many different texts{whose} (or whatever stays together), so that"
        f" each fold has one, and {n_rows:,} rows{whose} have {len(names):,}. {fewer} more"
        " rows."
    )
