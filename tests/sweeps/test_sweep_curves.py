"""The learning curves of a sweep: over optimizer steps, whatever the fits of a trial differ in."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_sweeps import RATE, sweep_of, write

from roots.sweeps import Sweep
from roots.sweeps.curves import curves_of, over_fits
from roots.sweeps.figures import draw_curves
from roots.sweeps.trial import PRUNED

TWO = {RATE: {"values": [0.01, 0.1]}}


def axes_of(sweep: Sweep) -> Any:
    trials = sweep.trials()
    curves = curves_of(sweep.definition, trials, sweep.folder)
    return draw_curves(sweep.definition, trials, curves).axes[0]


def band(axes: Any, place: int) -> set[tuple[float, float]]:
    """The corners of a band."""
    return {
        tuple(np.round(corner, 9)) for corner in axes.collections[place].get_paths()[0].vertices
    }


@pytest.mark.parametrize("change", [{"seeds": [1, 2, 6]}, {"folds": 3}])
def test_a_report_draws_the_mean_of_the_fits_over_steps_and_their_range(
    sweep_file: Path, change: dict[str, Any]
) -> None:
    write(sweep_file, parameters=TWO, **change)
    sweep = sweep_of(sweep_file)
    sweep.run(say=lambda line: None)
    axes = axes_of(sweep)
    assert axes.get_xlabel() == "optimizer steps"
    assert axes.get_ylabel() == f"val/loss, mean over {sweep.definition.repeats}"
    more = [0.01, 0.02, 0.06] if "seeds" in change else [0.03, 0.06, 0.09]
    second, best = axes.lines  # the best is drawn last
    for line, worse in ((best, 0), (second, 1)):
        assert list(line.get_xdata()) == [2, 4, 6]
        wanted = [worse + sum(more) / 3 + 1 / step for step in (2, 4, 6)]
        assert list(line.get_ydata()) == pytest.approx(wanted)
    ends = {(step, round(m + 1 / step, 9)) for step in (2, 4, 6) for m in (more[0], more[2])}
    assert ends <= band(axes, 1)
    said = [text.get_text() for text in axes.get_legend().get_texts()]
    assert said == ["trial 1, the best", "smallest to largest of them", "finished"]
    page = (sweep.folder / "report.html").read_text()
    assert f"A line is the mean over {sweep.definition.repeats}, its band reaches" in page


def test_a_report_of_one_fit_per_trial_has_no_bands(sweep_file: Path) -> None:
    write(sweep_file, parameters=TWO, seeds=[4])
    sweep = sweep_of(sweep_file)
    sweep.run(say=lambda line: None)
    axes = axes_of(sweep)
    assert (axes.get_ylabel(), len(axes.collections)) == ("val/loss", 0)
    assert list(axes.lines[1].get_ydata()) == pytest.approx([0.04 + 1 / n for n in (2, 4, 6)])
    assert "its band" not in (sweep.folder / "report.html").read_text()


def test_the_report_says_after_which_fit_a_trial_was_ended_and_whose_runs_are_gone(
    sweep_file: Path,
) -> None:
    early = {"type": "hyperband", "min_iter": 2}
    write(sweep_file, parameters={RATE: {"values": [0.01, 1e-4]}}, folds=4, early_terminate=early)
    sweep = sweep_of(sweep_file)
    sweep.run(say=lambda line: None)
    trials = sweep.trials()
    assert trials[1].state == PRUNED
    curves = curves_of(sweep.definition, trials, sweep.folder)
    assert [curves[n].n_fits for n in (0, 1)] == [4, 2]
    assert curves[1].mean == pytest.approx([4.045 + 1 / step for step in (2, 4, 6)])
    page = (sweep.folder / "report.html").read_text()
    assert "ended early after fit 2" in page
    assert "not on this machine" not in page
    for run in trials[1].notes["runs"].values():
        shutil.rmtree(run)
    again = sweep.report().read_text()
    assert "The runs of trial 2 are not on this machine, or measured nothing." in again


@pytest.mark.parametrize("change", [{}, {"seeds": [1, 3]}])
def test_where_the_metric_was_measured_once_the_curves_are_the_training_loss_and_the_report_says_so(
    sweep_file: Path, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAL_EVERY", "6")
    write(sweep_file, parameters=TWO, **change)
    sweep = sweep_of(sweep_file)
    sweep.run(say=lambda line: None)
    axes = axes_of(sweep)
    assert axes.get_ylabel().startswith("train/loss")
    more = 0.02 if change else 0.0
    for line, worse in zip(axes.lines, (1, 0), strict=True):  # the best is drawn last
        assert list(line.get_xdata()) == [1, 2, 3, 4, 5, 6]
        wanted = [worse + more + 1 / step for step in range(1, 7)]
        assert list(line.get_ydata()) == pytest.approx(wanted)
    words = "val/loss was measured once in each fit, so that they show train/loss"
    assert words in (sweep.folder / "report.html").read_text()


def test_a_curve_goes_as_far_as_all_of_its_fits() -> None:
    curve = over_fits([{2: 1.0, 4: 3.0, 6: 9.0}, {}, {2: 2.0, 4: 1.0}])
    assert (curve.steps, curve.n_fits) == ((2, 4), 2)
    assert (curve.mean, curve.low, curve.high) == ((1.5, 2.0), (1.0, 1.0), (2.0, 3.0))
    assert over_fits([{}]).steps == ()
