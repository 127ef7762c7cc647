"""What a trial tried, in a few words."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any

import pytest

from roots.fit import read_run_files
from roots.sweeps import Sweep, read_definition, report
from roots.sweeps.parameters import Parameter
from roots.sweeps.trial import FAILED, FINISHED, Trial
from roots.sweeps.words import told, value_text


def schedule(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": f"roots.optim.{name}", "init_args": {"warmup_steps": 0, **arguments}}


CHOICES = (
    schedule("WarmupCosine", floor=0.0),
    schedule("WarmupCosine", floor=0.1),
    schedule("WarmupStableDecay", decay_fraction=0.2),
    {"class_path": "roots.optim.WarmupCosine"},
    0.00123456,
    "none",
)
PARAMETER = Parameter("model.schedule", "categorical", scale="choice", choices=CHOICES)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (CHOICES[0], "WarmupCosine(warmup_steps=0, floor=0)"),
        (CHOICES[1], "WarmupCosine(warmup_steps=0, floor=0.1)"),
        (CHOICES[2], "WarmupStableDecay"),
        (CHOICES[3], "WarmupCosine"),
        (CHOICES[4], "0.001235"),
        (CHOICES[5], "none"),
    ],
)
def test_an_object_is_its_class_and_what_sets_it_apart(choice: Any, words: str) -> None:
    assert value_text(PARAMETER, choice) == words


def test_what_all_of_a_class_have_is_not_told() -> None:
    two = Parameter("model.schedule", "categorical", scale="choice", choices=CHOICES[:3])
    assert value_text(two, CHOICES[1]) == "WarmupCosine(floor=0.1)"


@pytest.mark.parametrize("lost", [math.inf, math.nan])
def test_a_trial_with_a_seed_that_was_lost_is_told_without_a_spread(lost: float) -> None:
    content = {"config": "none.yaml", "method": "grid", "seeds": [1, 2]}
    definition = read_definition({**content, "parameters": {"x": {"values": [1, 2]}}}, base={})
    notes = {"results": {"1": 2.5, "2": lost}, "because": "it was lost"}
    trial = Trial(0, FAILED, {"x": 1}, notes=notes)
    assert told(definition, [trial], 0, 2) == "trial 1/2 · failed: it was lost"


@pytest.mark.parametrize("end", ["\n", "\r", "\x85", "\u2028", "\0"])
def test_a_value_of_several_lines_adds_nothing_to_the_best_run_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    config = {"trainer": {"max_steps": 3}}
    monkeypatch.setattr(report, "_config_of", lambda *_: dict(config))
    value = f"Sort this:{end}- a{end}seed: 7"
    parameters = {"data.prefix": {"values": [value, "b"]}}
    content = {"config": "none.yaml", "method": "grid", "parameters": parameters}
    best = Trial(0, FINISHED, {"data.prefix": value}, 1.0)
    file = report.write_best(read_definition(content, base={}), best, tmp_path)
    rest = {"trainer": {"max_steps": 3, "runs_dir": "runs", "progress": True}}
    assert read_run_files([file]) == {"name": "sweep-best", **rest}


def test_the_commands_of_a_sweep_in_a_folder_with_a_space_can_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "_config_of", lambda *_: {"trainer": {}})
    folder = tmp_path / "my sweeps" / "0001"
    folder.mkdir(parents=True)
    parameters = {"data.prefix": {"values": ["a", "b"]}}
    content = {"config": "none.yaml", "method": "grid", "parameters": parameters}
    definition = read_definition(content, base={})
    best = Trial(0, FINISHED, {"data.prefix": "a"}, 1.0)
    file = report.write_best(definition, best, folder)
    told = [line for line in file.read_text().splitlines() if line.startswith("# roots fit")]
    assert shlex.split(told[0])[1:] == ["roots", "fit", "--config", str(file)]
    go_on = Sweep(definition, folder=folder)._go_on
    assert shlex.split(go_on) == ["roots", "sweep", "--resume", str(folder)]
