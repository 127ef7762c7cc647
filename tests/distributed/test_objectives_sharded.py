"""Every objective on weights that are cut over two ranks makes the steps of one device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from every_objective import OBJECTIVES, assert_same_figures, every_objective, steps
from ranks import run_ranks
from test_fsdp import whole
from test_split_invariance import assert_same_gradient

pytestmark = pytest.mark.heavy

SPECS: dict[str, Any] = {
    "ddp": "ddp",
    "fsdp": "fsdp",
    "hsdp": {"class_path": "roots.strategies.FSDP", "init_args": {"replicas": 2}},
}


def gradient_of(parameter: Any) -> Any:
    return whole(parameter.grad)


def on_ranks(configs: dict[str, dict[str, Any]], *strategies: str) -> dict[Any, Any]:
    return {
        (name, strategy): steps(config, gradient_of, SPECS[strategy])
        for name, config in configs.items()
        for strategy in strategies
    }


@pytest.fixture(scope="module")
def configs(masked_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return every_objective(tmp_path_factory.mktemp("objectives"), masked_shards)


@pytest.fixture(scope="module")
def given(configs: dict[str, Any]) -> dict[Any, Any]:
    return run_ranks(on_ranks, configs, "fsdp", timeout=300)[0]


@pytest.fixture(scope="module")
def by_four(configs: dict[str, Any]) -> dict[Any, Any]:
    """In micro-batches of 3, no rank has more than one: a step has two rows for each."""
    return run_ranks(on_ranks, configs, *SPECS, ranks=4, timeout=900)[0]


@pytest.fixture(scope="module")
def alone(configs: dict[str, Any]) -> dict[str, Any]:
    return {name: steps(config, gradient_of) for name, config in configs.items()}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_ranks_make_the_gradient_and_the_steps_of_one(
    given: dict[Any, Any], alone: dict[str, Any], name: str
) -> None:
    made, expected = given[name, "fsdp"], alone[name]
    assert_same_gradient(made["gradient"], expected["gradient"])
    assert_same_figures(made, expected)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", SPECS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_four_ranks_make_the_gradient_and_the_steps_of_one(
    by_four: dict[Any, Any], alone: dict[str, Any], name: str, strategy: str
) -> None:
    made, expected = by_four[name, strategy], alone[name]
    assert_same_gradient(made["gradient"], expected["gradient"])
    assert_same_figures(made, expected)
