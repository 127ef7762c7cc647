"""The sweep file: what it may say, and the words for what it may not."""

from __future__ import annotations

import math
import re
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from roots.errors import ConfigError
from roots.sweeps import Metric, read_definition
from roots.sweeps.with_wandb import wandb_file

X = {"x": {"min": 0.0, "max": 1.0}}
RATE = "model.init_args.optimizer.init_args.learning_rate"


def read(**content: Any) -> Any:
    content = {"config": "none.yaml", "method": "random", "parameters": X, **content}
    return read_definition(content, base={})


def test_a_file_as_wandb_documents_it(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("trainer: {max_steps: 5}\n")
    (tmp_path / "sweeps").mkdir()
    file = tmp_path / "sweeps/mine.yaml"
    file.write_text("""\
program: roots
project: some-project
description: which learning rate
config: [../run.yaml]
method: bayes
metric: {name: val/accuracy, goal: maximize, target: 0.95}
run_cap: 12
early_terminate: {type: hyperband, max_iter: 27, s: 2, strict: true}
parameters:
  model:
    parameters:
      optimizer:
        parameters:
          learning_rate: {distribution: log_uniform_values, min: 1e-5, max: 1e-2}
      micro_batch_size: {values: [8, 16], probabilities: [0.25, 0.75]}
  trainer.max_steps: {value: 100}
""")
    definition = read_definition(file)
    assert definition.name == "mine"
    assert [p.name for p in definition.parameters] == [
        "model.optimizer.learning_rate",
        "model.micro_batch_size",
        "trainer.max_steps",
    ]
    assert [p.name for p in definition.searched] == [
        "model.optimizer.learning_rate",
        "model.micro_batch_size",
    ]
    rate = definition.parameters[0]
    assert (rate.low, rate.high, rate.scale) == (1e-5, 1e-2, "log"), "YAML reads 1e-5 as a text"
    assert definition.metric == Metric("val/accuracy", maximize=True, target=0.95)
    assert (definition.run_cap, definition.early.bands, definition.early.strict) == (
        12,
        (3, 9),
        True,
    )
    assert definition.base == {"trainer": {"max_steps": 5}}


def test_the_metric_is_the_runs_own_when_none_is_named() -> None:
    assert read().metric == Metric("val/loss")
    base = {"trainer": {"monitor": "val/macro_f1", "monitor_mode": "max"}}
    content = {"config": "none.yaml", "method": "random", "parameters": X}
    assert read_definition(content, base=base).metric == Metric("val/macro_f1", maximize=True)


def test_the_fingerprint_is_of_what_is_tried_wherever_the_files_lie() -> None:
    same = read(config="elsewhere/run.yaml", run_cap=9, command=["srun", "${args}"])
    assert same.fingerprint == read().fingerprint
    assert read(draw_seed=2).fingerprint != read().fingerprint
    assert read(parameters={"x": {"min": 0.0, "max": 2.0}}).fingerprint != read().fingerprint


WRONG = [
    ({"metod": "grid"}, "There is no 'metod' in a sweep file (did you mean 'method'?)"),
    ({"name": None}, "name='' cannot be a folder's name"),
    ({"method": "bayesian"}, "method='bayesian' is not known (did you mean 'bayes'?)"),
    ({"method": None}, "method=None is not known"),
    ({"config": None}, "the sweep file must name the run file"),
    ({"program": "train.py"}, "program='train.py': a trial here is `roots fit`"),
    ({"name": "a/b"}, "name='a/b' cannot be a folder's name"),
    ({"parameters": None}, "parameters must name at least one parameter"),
    ({"parameters": {"x": 3}}, "parameters.x is 3. Write `value: 3` below it"),
    ({"parameters": {"x": {"value": 3}}}, "All parameters are constant"),
    ({"parameters": {"seed": {"values": [1, 2]}}}, "Set seeds: [1, 2, 3]"),
    ({"parameters": {"trainer.runs_dir": {"values": ["a"]}}}, "set by the sweep itself"),
    (
        {"parameters": {**X, "a": {"parameters": {"b": {"value": 1}}}, "a.b": {"value": 2}}},
        "parameters.a.b is there twice",
    ),
    (
        {"parameters": {RATE: {"value": 1}, "model.optimizer.learning_rate": {"values": [1, 2]}}},
        f"parameters.model.optimizer.learning_rate is there twice, as {RATE} too. Leave one out.",
    ),
    ({"parameters": {"trainer.init_args.runs_dir": {"values": ["a"]}}}, "set by the sweep itself"),
    (
        {"folds": 3, "parameters": {**X, "data.init_args.fold": {"values": [1, 2]}}},
        "parameters.data.init_args.fold is set by the sweep itself",
    ),
    ({"metric": {"goal": "minimize"}}, "has no name"),
    ({"metric": {"name": "a", "gaol": "minimize"}}, "metric.gaol (did you mean 'goal'?)"),
    ({"metric": {"name": "a", "goal": "min"}}, "metric.goal='min': set it to minimize"),
    ({"metric": {"name": "a", "target": "low"}}, "metric.target='low' is no finite number"),
    ({"metric": {"name": "a", "target": math.nan}}, "metric.target=nan is no finite number"),
    ({"metric": {"name": "a", "target": True}}, "metric.target=True is no finite number"),
    ({"run_cap": 0}, "run_cap=0: set it to a whole number of 1 or more"),
    ({"run_cap": True}, "run_cap=True"),
    ({"seeds": [1, 1]}, "has a seed twice"),
    ({"seeds": ["a"]}, "make it a list of whole numbers"),
    ({"draw_seed": -1}, "draw_seed=-1"),
    ({"command": ["roots", "fit"]}, "does not hand on the flags"),
    ({"command": ["${program}", "${args}"]}, "command: ${program} is not known"),
    ({"command": ["x", "${args}", "${args_json}"]}, "${args_json} is not known"),
    ({"early_terminate": {"type": "envelope"}}, "early_terminate.type='envelope'"),
    ({"early_terminate": {"type": "hyperband"}}, "needs one of min_iter"),
    ({"early_terminate": {"type": "hyperband", "min_iter": 0}}, "early_terminate.min_iter=0"),
    ({"early_terminate": {"type": "hyperband", "max_iter": 9}}, "early_terminate.s=None"),
    ({"early_terminate": {"type": "hyperband", "max_iter": 2, "s": 1}}, "nothing to look at"),
    (
        {"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 1}},
        "eta=1: of so many trials one goes on. Set it",
    ),
    ({"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": math.nan}}, "eta=nan: of so"),
    ({"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": math.inf}}, "eta=inf: of so"),
    ({"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 1e30}}, "at most 1,000,000."),
    ({"early_terminate": {"type": "hyperband", "min_iter": 10**400}}, "from 1 to 1,000,000,000"),
    ({"early_terminate": {"type": "hyperband", "max_iter": 9, "s": 51}}, "s=51: set it to a whole"),
    ({"early_terminate": {"type": "hyperband", "min_iter": 1, "s": 2}}, "Leave s out, or set max"),
    (
        {"early_terminate": {"type": "hyperband", "min_iter": 1, "strict": "false"}},
        "strict='false'",
    ),
    ({"early_terminate": {"type": "hyperband", "min_itr": 1}}, "did you mean 'min_iter'?"),
]

WRONG_PARAMETERS = [
    ({}, "has nothing: it needs `value`, `values`"),
    ({"min": 1}, "has min: it needs"),
    ({"value": 1, "min": 2}, "parameters.x.min is not used"),
    ({"distribution": "unifrom", "min": 0, "max": 1}, "did you mean 'uniform'?"),
    ({"distribution": "uniform", "max": 1}, "lacks min, which uniform needs. Add it."),
    ({"distribution": "constant"}, "lacks value"),
    ({"min": 1.0, "max": 1.0}, "min=1 is not below max=1"),
    ({"min": "low", "max": 1.0}, "parameters.x.min='low' is no finite number"),
    ({"min": 0.0, "max": float("inf")}, "parameters.x.max=inf is no finite number"),
    ({"distribution": "int_uniform", "min": 0, "max": 1.5}, "Make both whole numbers"),
    ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "no logarithm of min=0"),
    ({"distribution": "log_uniform", "min": 1, "max": 1e4}, "take log_uniform_values"),
    ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0}, "q=0 rounds to nothing"),
    ({"distribution": "uniform", "min": 0, "max": 1, "q": 1}, "parameters.x.q is not used"),
    ({"distribution": "normal", "sigma": 0}, "Set sigma above 0"),
    ({"distribution": "beta", "a": -1}, "Set both above 0"),
    ({"values": []}, "Make it a list of one or more values"),
    ({"values": "abc"}, "Make it a list of one or more values"),
    ({"values": [1, 2, 1]}, "names a value twice"),
    ({"values": [1, 2], "probabilities": [1.0]}, "[1.0] for 2 values"),
    ({"values": [1, 2], "probabilities": [0.5, 0.6]}, "add up to 1.1. Make that 1."),
    ({"values": [1, 2], "probabilities": ["a", "b"]}, "x.probabilities='a' is no finite number"),
    ({"values": [1, 2], "probabilities": "01"}, "probabilities is '01' for 2 values"),
    ({"values": [date(2026, 1, 2), "a"]}, "parameters.x: 2026-01-02 is no text, number, list"),
    ({"value": date(2026, 1, 2)}, "Write it in quotes; YAML takes 2026-01-02 for a date."),
    ({"distribution": "log_normal", "mu": 1000}, "log_normal reaches values that are too large"),
    ({"distribution": "log_normal", "mu": -1000}, "Set min and max, or mu and sigma, nearer to 0"),
    ({"distribution": "log_normal", "sigma": 200}, "log_normal reaches values that are too large"),
    ({"min": -1e308, "max": 1e308}, "uniform reaches values"),
    ({"distribution": "q_uniform", "min": 0, "max": 1e300, "q": 1e-300}, "or a larger q."),
    ({"min": 1, "max": 10**400}, "is no finite number"),
    ({"min": 1, "max": 10**16}, "Whole numbers are exact to 9,007,199,254,740,992"),
    ({"parameters": {"y": {"value": 1}}, "value": 2}, "parameters.x.value is not used"),
]


@pytest.mark.parametrize(("change", "words"), WRONG)
def test_what_a_sweep_file_may_not_say(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        read(**change)


@pytest.mark.parametrize(("spec", "words"), WRONG_PARAMETERS)
def test_what_a_parameter_may_not_be(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        read(parameters={"x": spec})


@pytest.mark.parametrize("trainer", [[1], "fast"])
def test_a_run_file_whose_trainer_is_no_table_is_named(trainer: Any) -> None:
    content = {"config": "none.yaml", "method": "random", "parameters": X}
    with pytest.raises(
        ConfigError, match=re.escape(f"trainer={trainer!r}: the run file's trainer")
    ):
        read_definition(content, base={"trainer": trainer})


def test_what_yaml_takes_for_a_text_is_read_as_a_number() -> None:
    content = yaml.safe_load("x: {values: [1, 2], probabilities: [1e-1, 9e-1]}")
    definition = read(parameters=content, metric={"name": "a", "target": "1e-3"})
    assert definition.parameters[0].probabilities == (0.1, 0.9)
    assert definition.metric.target == 1e-3
    assert wandb_file(definition)["parameters"]["x"]["probabilities"] == [0.1, 0.9]


def test_numbers_of_numpy_are_those_of_a_file() -> None:
    rates = np.logspace(-4, -2, 3)
    ours = read(parameters={"x": {"values": rates.tolist()}, "n": {"min": 1, "max": 3}})
    for values in (rates, list(rates), tuple(rates)):
        n = {"min": np.int64(1), "max": np.int64(3)}
        theirs = read(parameters={"x": {"values": values}, "n": n})
        assert theirs.parameters == ours.parameters
        assert theirs.fingerprint == ours.fingerprint
        assert yaml.safe_load(yaml.safe_dump(theirs.given)) == ours.given


def test_files_that_are_no_sweep_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no sweep file .*none\.yaml"):
        read_definition(tmp_path / "none.yaml")
    for text, words in (("[1, 2]", "holds no `key: value` lines"), ("a: [", "is no YAML")):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(ConfigError, match=words):
            read_definition(tmp_path / "bad.yaml")
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump({"config": "gone.yaml", "method": "random", "parameters": X}))
    with pytest.raises(ConfigError, match=r"There is no file .*gone\.yaml"):
        read_definition(file)
