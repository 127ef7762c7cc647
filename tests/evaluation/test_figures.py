"""The figure of a run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from roots.evaluation.canvas import png_of, save_png
from roots.evaluation.corpus_figures import counts_figure, document_lengths_figure, stages_figure
from roots.evaluation.figures import loss_figure, smoothed
from roots.evaluation.run_record import read_record
from roots.runs import Run


def drawn(folder: Path, metrics: str) -> Any:
    (folder / "metrics.csv").write_text(metrics)
    return loss_figure(read_record(Run(folder)))


def test_a_run_is_drawn_as_a_png(tmp_path: Path) -> None:
    rows = ["step,train/loss,optim/learning_rate,val/loss,val/bits_per_byte"]
    rows += [
        f"{n},{5 - n / 10},0.001,{4.0 if n == 10 else ''},{2 if n == 10 else ''}" for n in range(20)
    ]
    picture = png_of(drawn(tmp_path, "\n".join(rows) + "\n"))
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert picture.endswith(b"IEND\xaeB`\x82")


def test_a_run_without_validation_is_drawn_too(tmp_path: Path) -> None:
    assert png_of(drawn(tmp_path, "step,train/loss\n1,5.0\n"))


def test_a_run_that_logged_nothing_has_no_figure(tmp_path: Path) -> None:
    assert drawn(tmp_path, "step,val/loss\n") is None


@pytest.mark.parametrize(("n", "weight"), [(5, 0.5), (60, 0.5), (300, 0.9)])
def test_smoothing_is_a_weighted_mean_of_what_came_before(n: int, weight: float) -> None:
    values = [float(m * m % 7) for m in range(n)]
    weights = [[weight ** (last - m) for m in range(last + 1)] for last in range(n)]
    direct = [sum(w * v for w, v in zip(row, values, strict=False)) / sum(row) for row in weights]
    assert smoothed(values) == pytest.approx(direct)


def test_smoothing_starts_at_the_first_value_and_keeps_a_constant() -> None:
    assert smoothed([7.0])[0] == pytest.approx(7.0)
    assert smoothed([2.0] * 9) == pytest.approx([2.0] * 9)
    assert smoothed([]) == []


@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_leaves_the_rest_of_a_smoothed_curve(lost: float) -> None:
    values = [3.0, 1.0, 2.0, 5.0, 4.0]
    found = smoothed([lost, *values[:3], lost, lost, *values[3:], lost])
    gaps = [0, 4, 5, 8]
    assert [n for n, value in enumerate(found) if math.isnan(value)] == gaps
    assert [v for n, v in enumerate(found) if n not in gaps] == pytest.approx(smoothed(values))


def test_a_figure_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    class Torn:
        def savefig(self, path: Path, **_: object) -> None:
            path.write_bytes(b"half")
            raise OSError("No space left on device")

    (tmp_path / "a.png").write_bytes(b"the old one")
    with pytest.raises(OSError, match="No space"):
        save_png(Torn(), tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"the old one"


def shown_numbers(axis: Any) -> list[str]:
    axis.figure.canvas.draw()
    return [label.get_text() for label in axis.get_ticklabels()]


@pytest.mark.parametrize("n", [1, 3, 5000])
def test_an_axis_that_counts_says_no_number_twice(n: int) -> None:
    part = {"name": "Read", "documents_in": n, "documents_kept": n, "dropped": {}}
    lengths = document_lengths_figure({"edges": [1, 2], "counts": [n]})
    axes = [
        stages_figure([part]).axes[0].xaxis,
        counts_figure({"exact": n}, "documents").axes[0].xaxis,
        lengths.axes[0].yaxis,
    ]
    for axis in axes:
        shown = shown_numbers(axis)
        assert len(set(shown)) == len(shown)
        assert all("." not in number for number in shown)
    assert "5,000" in shown_numbers(axes[0]) or n < 5000


def test_labels_are_shares_of_the_rows_that_have_some() -> None:
    from roots.evaluation.data_section import labels_figure

    counts = {"train": {"a": 100, "b": 100}}  # both of each of 100 rows
    for wholes, share in (({"train": 100}, 1.0), ({}, 0.5)):
        (axes,) = labels_figure(counts, wholes).axes
        assert {bar.get_width() for bar in axes.patches} == {share}
