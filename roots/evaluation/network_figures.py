"""What is drawn of a network: where its heads look, and how its embeddings lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from roots.errors import ConfigError
from roots.evaluation.canvas import BLUE, COLOURS, labels_of, new_figure, plain

_MARKS = str.maketrans({" ": "·", "\n": "↵", "\t": "→"})
_SHAPES = ("o", "s", "^", "D", "v", "P")
MOST_TICKS = 40
"""Of longer texts the tokens are not written along the axes of a map."""


def draw_attention(
    weights: npt.ArrayLike, tokens: Sequence[str], *, names: Sequence[str] = ()
) -> Any:
    """Draws attention maps side by side: a row is a position, and where it looks is dark.

    Args:
        weights: (n, T, T): n maps whose rows add up to 1, such as the heads of a layer.
        tokens: The text of each of the T positions.
        names: Of the maps; empty numbers them as heads.

    Raises:
        ConfigError: The sizes do not belong together.
    """
    maps = np.asarray(weights)
    n, t = len(maps), len(tokens)
    if not n or maps.shape != (n, t, t):
        raise ConfigError(
            f"Attention weights of shape {maps.shape} do not fit {t} tokens: give those of one"
            f" layer, (heads, {t}, {t})."
        )
    if names and len(names) != n:
        raise ConfigError(f"{n} maps have {len(names)} names. Give one of each map, or none.")
    columns = min(n, 4)
    rows = -(-n // columns)
    side = min(max(0.16 * t, 1.8), 4.0)
    figure = new_figure(0.9 + columns * side, 0.7 + rows * (side + 0.25))
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for number, axes in enumerate(grid.flat):
        axes.set_visible(number < n)
        if number < n:
            title = names[number] if names else f"head {number}"
            image = axes.imshow(maps[number], cmap="Greys", norm=_shades(), aspect="equal")
            axes.set_title(title, fontsize=9, loc="left")
            _tick(axes, tokens)
    figure.supxlabel("position that is looked at", fontsize=9)
    figure.supylabel("position that looks", fontsize=9)
    figure.colorbar(image, ax=grid, shrink=0.8, label="share of the attention")
    return figure


def _shades() -> Any:
    """Makes small shares visible too: half of the blackness at a quarter."""
    from matplotlib.colors import PowerNorm

    return PowerNorm(0.5, vmin=0, vmax=1)


def principal_components(
    vectors: npt.ArrayLike, n: int = 2
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Projects vectors onto the directions in which they differ most.

    Args:
        vectors: (N, D).
        n: How many directions, 1 to the smaller of N and D.

    Returns:
        (N, n) coordinates, whose means are 0 and of which each column has the sign that makes its
        value of greatest size positive; and (n,) the share of the variance that each explains.

    Raises:
        ConfigError: There are not so many directions.

    Source:
        Jolliffe, Principal Component Analysis, 2nd edition, section 3.5: by the singular value
        decomposition of the centred vectors.
    """
    points = np.asarray(vectors, dtype=np.float64)
    if points.ndim != 2 or not 1 <= n <= min(points.shape):
        raise ConfigError(
            f"Vectors of shape {points.shape} have no {n} principal components. Give (N, D) with N"
            f" and D of {n} or more."
        )
    centred = points - points.mean(0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    coordinates = left[:, :n] * sizes[:n]
    greatest = coordinates[np.abs(coordinates).argmax(0), range(n)]
    variance = sizes**2
    shares = variance[:n] / (variance.sum() or 1.0)
    return coordinates * np.where(greatest < 0, -1.0, 1.0), shares


def draw_projection(
    vectors: npt.ArrayLike,
    names: Sequence[str] = (),
    *,
    groups: Sequence[str] = (),
    most_names: int = 60,
) -> Any:
    """Draws vectors, such as embeddings, on the plane of their two principal components.

    Args:
        vectors: (N, D).
        names: What is written beside the points, where the font has it; empty writes nothing.
        groups: The group of each point, told by colour and shape; empty draws all alike.
        most_names: Write so many names at most, evenly chosen.

    Raises:
        ConfigError: Names or groups are not as many as the vectors, or those too few for a plane.
    """
    points, shares = principal_components(vectors)
    for what, given in (("names", names), ("groups", groups)):
        if given and len(given) != len(points):
            raise ConfigError(f"{len(points):,} vectors have {len(given):,} {what}. Give as many.")
    figure = new_figure(height=5.6)
    axes = figure.subplots()
    for number, group in enumerate(dict.fromkeys(groups or [""])):
        rows = [row for row in range(len(points)) if not groups or groups[row] == group]
        colour, shape = COLOURS[number % len(COLOURS)], _SHAPES[number % len(_SHAPES)]
        look = {"color": colour if groups else BLUE, "marker": shape, "alpha": 0.6, "s": 16}
        axes.scatter(*points[rows].T, linewidths=0, label=group, **look)
    _write_names(axes, points, names, most_names)
    plain(axes, *(f"component {n + 1} ({s:.0%} of the variance)" for n, s in enumerate(shares)))
    if groups:
        axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _write_names(axes: Any, points: Any, names: Sequence[str], most: int) -> None:
    labels = labels_of(_shown(names), longest=16)
    if most < 1:
        return
    step = max(-(-len(labels) // most), 1)
    for row in range(0, len(labels), step):
        if not labels[row].startswith("#") and "\ufffd" not in labels[row]:
            place = {"xytext": (3, 2), "textcoords": "offset points"}
            axes.annotate(labels[row], points[row], fontsize=7, **place)


def _shown(tokens: Sequence[str]) -> list[str]:
    """Makes white space visible."""
    return [token.translate(_MARKS) for token in tokens]


def _tick(axes: Any, tokens: Sequence[str]) -> None:
    if len(tokens) > MOST_TICKS:
        axes.tick_params(labelsize=7)
        return
    labels = labels_of(_shown(tokens), longest=10)
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=6)
    axes.set_yticks(range(len(labels)), labels, fontsize=6)
