"""The figure of a run: loss and learning rate over its steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from roots.evaluation.canvas import BLUE, GREY, ORANGE, new_figure, plain, save_png
from roots.runs import Run, read_metrics


def draw_run(run: Run) -> Path | None:
    """Draws loss.png from the metrics of a run.

    Returns:
        The file, or None when nothing was logged.
    """
    rows = read_metrics(run.metrics_file)
    train = _series(rows, "train/loss")
    if not train[0]:
        return None
    figure = new_figure()
    loss, rate = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    _draw_loss(loss, train, _series(rows, "val/loss"))
    _draw_rate(rate, _series(rows, "optim/learning_rate"))
    loss.set_title(_title(run, rows), loc="left", fontsize=10)
    return save_png(figure, run.path / "loss.png")


def _draw_loss(axes: Any, train: tuple[list, list], val: tuple[list, list]) -> None:
    steps, losses = train
    axes.plot(steps, losses, color=BLUE, alpha=0.3, linewidth=0.8)
    axes.plot(steps, smoothed(losses), color=BLUE, linewidth=1.6, label="training (smoothed)")
    if val[0]:
        axes.plot(*val, color=ORANGE, marker="o", markersize=3, linewidth=1.4, label="validation")
        axes.annotate(
            f"{val[1][-1]:.3f}",
            (val[0][-1], val[1][-1]),
            textcoords="offset points",
            xytext=(-4, 8),
            ha="right",
            color=ORANGE,
            fontsize=9,
        )
    plain(axes, "", "loss (nats per token)")
    axes.legend(frameon=False, fontsize=9)


def _draw_rate(axes: Any, rate: tuple[list, list]) -> None:
    axes.plot(*rate, color=GREY, linewidth=1.2)
    plain(axes, "optimizer steps", "learning rate")
    axes.yaxis.label.set_fontsize(8)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))


def _series(rows: list[dict[str, str]], name: str) -> tuple[list[int], list[float]]:
    found = [(int(row["step"]), float(row[name])) for row in rows if row.get(name)]
    return [step for step, _ in found], [value for _, value in found]


def _title(run: Run, rows: list[dict[str, str]]) -> str:
    bits = _series(rows, "val/bits_per_byte")[1]
    tail = f" · {bits[-1]:.3f} bits per byte on validation text" if bits else ""
    return f"{run.path.parent.name}/{run.path.name}{tail}"


def smoothed(values: list[float]) -> list[float]:
    """Gives an exponential moving average over about a thirtieth of the values, at least two.

    It has no pull towards its start value.

    Source:
        Kingma & Ba, arXiv:1412.6980, section 3 (bias correction).
    """
    weight = 1 - 1 / max(len(values) / 30, 2)
    result, mean, scale = [], 0.0, 0.0
    for value in values:
        mean = weight * mean + (1 - weight) * value
        scale = weight * scale + (1 - weight)
        result.append(mean / scale)
    return result
