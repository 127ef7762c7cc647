"""Curves that are drawn while a run trains, in one place and seldom enough."""

from __future__ import annotations

import base64
import signal
from typing import Any

import pytest
from test_stop_signals import SignalsItself

from roots.callbacks import LiveCurves, Progress
from roots.callbacks.notebook import LINES_KEPT, in_notebook
from roots.callbacks.stop_signals import Interrupted
from roots.fit import compose


class Screen:
    """Keeps what is shown."""

    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []

    def show(self, forms: dict[str, Any]) -> None:
        self.shown.append(forms)


class Clock:
    """Goes on by so many seconds with each look."""

    def __init__(self, stride: float) -> None:
        self.time, self.stride = 0.0, stride

    def __call__(self) -> float:
        self.time += self.stride
        return self.time


def fitted(config: dict, **arguments: Any) -> Screen:
    screen = Screen()
    composed = compose(config)
    composed.trainer.callbacks.insert(-2, LiveCurves(place=screen, **arguments))
    composed.fit()
    return screen


def test_every_due_report_and_the_end_are_drawn(config: dict) -> None:
    screen = fitted(config, every_seconds=0.0, now=lambda: 0.0)
    assert len(screen.shown) == 6 + 1
    for forms in screen.shown:
        assert base64.b64decode(forms["image/png"]).startswith(b"\x89PNG\r\n\x1a\n")
    assert len({forms["image/png"] for forms in screen.shown}) > 4  # the curves grow
    assert screen.shown[-1]["text/plain"].endswith("runs/tiny/0001")


def test_drawing_takes_a_twentieth_of_the_time_at_most(config: dict) -> None:
    """By this clock a drawing takes a second, and so does a report: there is time for none more."""
    screen = fitted(config, every_seconds=0.0, now=Clock(1.0))
    assert len(screen.shown) == 1 + 1


def test_a_run_that_is_interrupted_shows_how_far_it_came(config: dict) -> None:
    screen = Screen()
    composed = compose(config)
    composed.trainer.callbacks.insert(0, SignalsItself(step=2, number=signal.SIGINT))
    composed.trainer.callbacks.insert(-2, LiveCurves(place=screen, every_seconds=1e6))
    with pytest.raises(Interrupted):
        composed.fit()
    assert len(screen.shown) == 1


def test_a_drawing_that_fails_is_told_and_the_run_goes_on(
    config: dict, capsys: pytest.CaptureFixture
) -> None:
    class Broken:
        def show(self, forms: dict[str, Any]) -> None:
            raise OSError("no screen")

    composed = compose(config, {"trainer.progress": True})
    composed.trainer.callbacks.insert(-2, LiveCurves(place=Broken(), every_seconds=0.0))
    assert composed.fit().last().step == 6
    assert "the curves were not drawn (OSError: no screen)" in capsys.readouterr().err


def test_outside_of_a_notebook_no_run_draws_by_itself(config: dict) -> None:
    assert not in_notebook()
    callbacks = compose(config, {"trainer.progress": True}).trainer.callbacks
    assert not any(isinstance(callback, LiveCurves) for callback in callbacks)


def test_in_a_notebook_every_run_draws_unless_progress_is_off(
    config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roots.fit.run_callbacks.in_notebook", lambda: True)
    kinds = [type(c) for c in compose(config, {"trainer.progress": True}).trainer.callbacks]
    assert kinds.count(LiveCurves) == 1
    kinds = [type(c) for c in compose(config, {"trainer.progress": False}).trainer.callbacks]
    assert LiveCurves not in kinds


def test_in_a_notebook_progress_is_one_place_with_the_newest_lines_that_stay(
    config: dict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("roots.callbacks.progress.in_notebook", lambda: True)
    screen = Screen()
    composed = compose(config, {"trainer.progress": True})
    progress = next(c for c in composed.trainer.callbacks if isinstance(c, Progress))
    progress._place = screen  # type: ignore[assignment]
    composed.fit()
    last = screen.shown[-1]["text/plain"].splitlines()
    assert last[0].startswith("attention: sdpa, ")
    saved = [line for line in last if line.startswith("saved step ")]
    assert len(saved) == 2
    assert [line.split(" · ")[0] for line in last[2:] if line not in saved] == [
        "validated after step 3",
        "step 6/6",
        "validated after step 6",
    ]
    assert capsys.readouterr().err == ""
    for number in range(2 * LINES_KEPT):
        progress._show(f"line {number}", stay=True)
    progress._show("now", stay=False)
    lines = screen.shown[-1]["text/plain"].splitlines()
    assert lines[-1] == "now"
    assert len(lines) == LINES_KEPT + 1
