"""A part of the rows for development, where a set has none of its own."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from hashlib import blake2b
from itertools import repeat

from roots.errors import ConfigError


def hold_out(
    n_rows: int,
    *,
    fraction: float,
    seed: int,
    by: Sequence[str] | None = None,
    strata: Sequence[Hashable] | None = None,
) -> tuple[list[int], list[int]]:
    """Divides the rows 0 … `n_rows` - 1 into those for training and those held out.

    Each group has a hash of (seed, its name), and the groups with the smallest ones are held out,
    until the rows are as near to the share as whole groups can be. So with `by` the division is a
    function of the seed and of what the rows hold, whatever their order; without it, of the seed
    and their numbers.

    Args:
        n_rows: How many rows there are.
        fraction: Share of the rows to hold out, over 0 and under 1.
        seed: Another seed gives another division.
        by: The group of each row, such as its article's title, or its text, so that copies stay
            together. Without it each row is its own.
        strata: The class of each row: each class is divided by the same share, to within one group,
            and keeps at least one group for training. A group is of the class of its first row.

    Returns:
        The numbers of the rows for training, and of those held out; both ascend.

    Raises:
        ConfigError: One of the parts would be empty, or a list has not `n_rows` items.
    """
    _check(n_rows, fraction, by=by, strata=strata)
    groups = grouped(n_rows, by)
    layers: dict[Hashable, list[str]] = {}
    for name in sorted(groups, key=lambda name: (place(name, seed), name)):
        layers.setdefault(None if strata is None else strata[groups[name][0]], []).append(name)
    held = set(_chosen(layers.values(), groups, fraction))
    if not held:
        raise ConfigError(
            f"fraction={fraction} of {n_rows:,} rows in {len(groups):,} groups holds out nothing,"
            " because a group goes as a whole and none may be lost for training. Set a larger"
            " fraction, divide by smaller groups, or give a development file."
        )
    parts: tuple[list[int], list[int]] = ([], [])
    for number, is_held in _marked(groups, held):
        parts[is_held].append(number)
    return sorted(parts[0]), sorted(parts[1])


def _chosen(
    layers: Iterable[list[str]], groups: dict[str, list[int]], fraction: float
) -> Iterable[str]:
    owed = 0.0  # rows that the layers before took too few (or, below 0, too many)
    for names in layers:
        owed += fraction * sum(len(groups[name]) for name in names)
        for name in names[:-1]:  # the last stays, so that no class is lost for training
            size = len(groups[name])
            if size / 2 <= owed:
                owed -= size
                yield name


def _marked(groups: dict[str, list[int]], held: set[str]) -> Iterable[tuple[int, bool]]:
    for name, numbers in groups.items():
        yield from zip(numbers, repeat(name in held))


def grouped(n_rows: int, by: Sequence[str] | None) -> dict[str, list[int]]:
    """Gives the rows of each group, in their order; without `by` each row is its own."""
    groups: dict[str, list[int]] = {}
    for number, name in enumerate(map(str, range(n_rows)) if by is None else by):
        groups.setdefault(name, []).append(number)
    return groups


def place(name: str, seed: int) -> bytes:
    """Gives what groups are put in an order by: as good as drawn, the same everywhere."""
    raw = name.encode("utf-8", "surrogatepass")
    return blake2b(raw, digest_size=8, key=f"hold out {seed}".encode()).digest()


def _check(n_rows: int, fraction: float, **lists: Sequence[Hashable] | None) -> None:
    if not 0 < fraction < 1:
        raise ConfigError(
            f"fraction={fraction} must be over 0 and under 1: both parts need rows."
            " Set it to 0.1 for a tenth."
        )
    if n_rows < 2:
        raise ConfigError(
            f"{n_rows} rows cannot be divided into two parts. Give a development file or more rows."
        )
    check_items(n_rows, **lists)


def check_items(n_rows: int, **lists: Sequence[Hashable] | None) -> None:
    """Raises ConfigError when a list has not one item for each row."""
    for name, items in lists.items():
        if items is not None and len(items) != n_rows:
            raise ConfigError(
                f"{name} has {len(items):,} items for {n_rows:,} rows. Give one for each row."
            )
