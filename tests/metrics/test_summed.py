"""What all metrics have in common."""

from __future__ import annotations

import copy
import itertools
import json
import math
import pickle
import random

import pytest
import torch
from lightning import LightningModule
from measured import N_ROWS, measured, same_values
from torch import Tensor
from torchmetrics import MetricCollection

from roots.errors import ConfigError
from roots.metrics import Calibration, Classification, Regression, SummedMetric
from roots.metrics.summed import logged_names

NAMES = sorted(measured())


def at_once(name: str) -> SummedMetric:
    example = measured()[name]
    metric = example.make()
    metric.update(*example.rows)
    return metric


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", NAMES)
def test_every_split_into_batches_gives_the_same_values(name: str, seed: int) -> None:
    example, rng = measured()[name], random.Random(seed)
    cuts = [0, *sorted(rng.choices(range(N_ROWS + 1), k=rng.randint(1, 12))), N_ROWS]
    metric = example.make()
    for start, end in itertools.pairwise(cuts):  # some of them of no rows
        metric.update(*example.part(start, end))
    whole = at_once(name)
    assert same_values(metric.values(), whole.values())
    assert json.dumps(metric.details(), allow_nan=False)
    assert metric.details().keys() == whole.details().keys()


@pytest.mark.parametrize("name", NAMES)
def test_values_are_plain_floats_under_names_that_a_logger_takes(name: str) -> None:
    for key, value in at_once(name).values().items():
        assert type(value) is float
        assert math.isfinite(value)
        assert key.split() == [key]
        assert key.count("/") <= 1


@pytest.mark.parametrize("name", NAMES)
def test_without_rows_every_value_is_nan_and_has_the_name_of_later(name: str) -> None:
    metric = measured()[name].make()
    before = metric.values()
    assert before or name in ("Mistakes", "Residuals")  # which have details only
    assert all(math.isnan(value) for value in before.values())
    after = at_once(name).values()
    assert before.keys() == {key for key in after if name != "SquadScore" or "/" not in key}


@pytest.mark.parametrize("name", NAMES)
def test_asking_for_values_changes_nothing_and_reset_starts_again(name: str) -> None:
    example, metric = measured()[name], at_once(name)
    first = metric.values()
    assert same_values(metric.values(), first)
    metric.reset()
    assert all(math.isnan(value) for value in metric.values().values())
    metric.update(*example.rows)
    assert same_values(metric.values(), first)


@pytest.mark.parametrize("name", NAMES)
def test_torchmetrics_own_ways_give_the_same_values(name: str) -> None:
    example, metric = measured()[name], at_once(name)
    assert same_values(metric.compute(), metric.values())
    forward = example.make()
    of_batch = forward(*example.part(0, 11))
    alone = example.make()
    alone.update(*example.part(0, 11))
    assert same_values(of_batch, alone.values())
    forward(*example.part(11, N_ROWS))
    assert same_values(forward.values(), metric.values())


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_pickles_hold_the_same_sums(name: str) -> None:
    metric = at_once(name)
    for twin in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        twin.update(*measured()[name].rows)
        again = at_once(name)
        again.update(*measured()[name].rows)
        assert same_values(twin.values(), again.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_module_of_lower_precision_leaves_the_sums_as_they_are(name: str) -> None:
    module = LightningModule()
    module.metric = example = at_once(name)
    expected = example.values()
    for move in (torch.nn.Module.half, torch.nn.Module.bfloat16):
        move(module)
        module.to(torch.bfloat16)
        assert same_values(example.values(), expected)
        states = [s for s in example.metric_state.values() if isinstance(s, Tensor)]
        assert {s.dtype for s in states} <= {torch.long, torch.float64}


def test_metrics_are_collected_by_torchmetrics() -> None:
    rows = measured()["Classification"].rows
    both = MetricCollection([measured()[name].make() for name in ("Classification", "Calibration")])
    both.update(*rows)
    assert {"accuracy", "ece"} <= both.compute().keys()


def test_states_are_not_saved_with_the_model() -> None:
    assert not at_once("Classification").state_dict()


def test_names_lose_their_white_space_and_slashes() -> None:
    metric = Classification(names=["Sci/Tech", "New  York", "Köln"])
    assert {"f1/Sci_Tech", "f1/New_York", "f1/Köln"} <= metric.values().keys()


def test_names_that_would_be_logged_as_one_are_refused_with_both() -> None:
    with pytest.raises(ConfigError, match=r"'Sci/Tech' and 'Sci Tech' .* 'Sci_Tech'") as told:
        Classification(names=["Sci/Tech", "Sci Tech"])
    assert "another name" in str(told.value)
    Classification(names=["Sci/Tech", "Science"])


@pytest.mark.parametrize(("names", "fewest"), [([], 1), (["a"], 2)])
def test_too_few_names_are_refused_with_their_number(names: list[str], fewest: int) -> None:
    with pytest.raises(ConfigError, match=rf"^{len(names)} classes .* {fewest} or more"):
        logged_names(names, of="classes", fewest=fewest)
    assert logged_names([*names, "b"], of="classes", fewest=fewest) == [*names, "b"]


def test_a_device_without_float64_is_given_float32() -> None:
    from roots.metrics.summed import _exact

    assert _exact(torch.device("mps")) == torch.float32
    assert Calibration().exact == Regression().exact == torch.float64
