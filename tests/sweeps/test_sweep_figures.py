"""The figures of a sweep whose names and values no figure was made for."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from roots.evaluation.canvas import png_of
from roots.sweeps import read_definition
from roots.sweeps.figures import draw_importances, draw_parallel
from roots.sweeps.study import Study
from roots.sweeps.trial import FINISHED, Trial

SHARDS, RATE = "data.init_args.shards", "model.init_args.optimizer.init_args.learning_rate"


def test_paths_as_values_are_told_apart_and_are_no_formulas() -> None:
    long = "${ROOTS_DATA}/corpora/of_the_web/cleaned_$TAG/part"
    values = [f"{long}-a", f"{long}-b", "${A}/x_1^${B}"]  # matplotlib refuses the last as a formula
    definition = read_definition(
        {
            "config": "none.yaml",
            "method": "grid",
            "metric": {"name": "val/loss"},
            "parameters": {SHARDS: {"values": values}, RATE: {"value": 0.1}},
        },
        base={},
    )
    trials = [
        Trial(n, FINISHED, {SHARDS: value, RATE: 0.1}, value=1.0 + n)
        for n, value in enumerate(values)
    ]
    figure = draw_parallel(definition, trials)
    assert png_of(figure).startswith(b"\x89PNG")
    shown = {text.get_text() for text in figure.axes[0].texts}
    assert {r"…b/cleaned_\$TAG/part-a", r"…b/cleaned_\$TAG/part-b", r"\${A}/x_1^\${B}"} <= shown


def test_tables_whose_keys_are_numbers_have_their_places_as_the_study_keeps_them() -> None:
    """JSON makes texts of the keys, and `1` is not `true`."""
    choices = [{1: 0.5, 2: 0.25}, {1: 0.25}, 1, True]
    content = {"config": "none.yaml", "method": "grid", "parameters": {RATE: {"values": choices}}}
    definition = read_definition(content, base={})
    study = Study(definition)
    while trial := study.ask(4):
        study.tell(trial.number, FINISHED, float(trial.number))
    kept = [replace(t, values=json.loads(json.dumps(t.values))) for t in study.trials()]
    lines = draw_parallel(definition, kept).axes[0].lines
    heights = [line.get_ydata()[0] for line in lines if len(line.get_xdata()) == 2][:4]
    assert sorted(heights) == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_parameters_whose_short_names_begin_alike_have_a_bar_each() -> None:
    names = [f"model.a_setting_with_a_very_long_name_{end}" for end in "xy"]
    figure = draw_importances(dict(zip(names, (0.75, 0.25), strict=True)))
    assert [bar.get_width() for bar in figure.axes[0].patches] == [0.25, 0.75]
    assert [bar.get_y() for bar in figure.axes[0].patches] == [-0.3, 0.7]
